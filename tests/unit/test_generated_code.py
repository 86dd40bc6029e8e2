"""The generated code is fresh, importable, and carries the options that the server reads."""

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from server.core.roles import PERMISSIONS
from server.generated.interview.agent.v1 import agent_service_pb2, agent_service_pb2_grpc
from server.generated.interview.auth.v1 import auth_service_pb2
from server.generated.interview.catalogue.v1 import catalogue_service_pb2, resources_pb2
from server.generated.interview.errors.v1 import error_reason_pb2
from server.generated.interview.options.v1 import options_pb2

ROOT = Path(__file__).parents[2]

SERVICES: list[ServiceDescriptor] = [
    auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"],
    catalogue_service_pb2.DESCRIPTOR.services_by_name["CatalogueService"],
    agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"],
]
METHODS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]


def _method(full_name: str) -> MethodDescriptor:
    return next(method for method in METHODS if method.full_name == full_name)


def test_regenerating_changes_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "protos" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_method_says_who_may_call_it_and_within_which_limits(
    method: MethodDescriptor,
) -> None:
    access = method.GetOptions().Extensions[options_pb2.access]
    assert access.WhichOneof("rule") is not None
    assert set(access.permissions.all_of) <= PERMISSIONS
    limits = method.GetOptions().Extensions[options_pb2.limits]
    assert limits.cost >= 1
    assert limits.bucket in {"read", "write", "login", "agent", "watch", "bulk"}
    if limits.HasField("default_deadline"):
        assert limits.default_deadline.ToTimedelta() <= limits.max_deadline.ToTimedelta()


def test_a_call_without_deadline_is_bounded_but_for_chats_and_watches() -> None:
    unbounded = {
        method.full_name
        for method in METHODS
        if not method.GetOptions().Extensions[options_pb2.limits].HasField("default_deadline")
    }
    assert unbounded == {
        "interview.agent.v1.AgentService.Chat",
        "interview.catalogue.v1.CatalogueService.WatchCatalogue",
    }


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("auth.v1.AuthService.Login", MethodOptions.IDEMPOTENCY_UNKNOWN),
        ("auth.v1.AuthService.Logout", MethodOptions.IDEMPOTENT),
        ("auth.v1.AuthService.GetCurrentPrincipal", MethodOptions.NO_SIDE_EFFECTS),
        ("catalogue.v1.CatalogueService.ListFilms", MethodOptions.NO_SIDE_EFFECTS),
        ("agent.v1.AgentService.Ask", MethodOptions.IDEMPOTENCY_UNKNOWN),
        ("agent.v1.AgentService.Chat", MethodOptions.IDEMPOTENCY_UNKNOWN),
    ],
)
def test_idempotency_decides_what_clients_may_repeat(
    name: str, level: MethodOptions.IdempotencyLevel.ValueType
) -> None:
    assert _method(f"interview.{name}").GetOptions().idempotency_level == level


def test_secret_fields_are_marked_for_redaction() -> None:
    secrets = {
        field.full_name.removeprefix("interview.")
        for service in SERVICES
        for file in (service.file, *service.file.dependencies)
        for message in file.message_types_by_name.values()
        for field in message.fields
        if field.GetOptions().debug_redact
    }
    assert secrets == {
        "auth.v1.User.email",
        "auth.v1.LoginRequest.email",
        "auth.v1.LoginRequest.password",
        "auth.v1.TokenPair.access_token",
        "auth.v1.TokenPair.refresh_token",
        "auth.v1.RefreshTokenRequest.refresh_token",
        "auth.v1.RefreshTokenRequest.request_id",
        "auth.v1.ChangePasswordRequest.current_password",
        "auth.v1.ChangePasswordRequest.new_password",
        "agent.v1.RefreshCredentialFrame.access_token",
    }


def test_query_options_name_what_a_filter_may_use() -> None:
    fields = resources_pb2.Film.DESCRIPTOR.fields_by_name
    title = fields["title"].GetOptions().Extensions[options_pb2.query]
    assert (title.filterable, title.sortable, title.text_searchable) == (True, True, True)
    description = fields["description"].GetOptions().Extensions[options_pb2.query]
    assert (description.filterable, description.text_searchable) == (False, True)
    assert not fields["etag"].GetOptions().HasExtension(options_pb2.query)


def test_numbers_of_published_reasons_do_not_move() -> None:
    reasons = error_reason_pb2.ErrorReason
    assert len(reasons.keys()) == 61
    assert reasons.Value("ERROR_REASON_VALIDATION_FAILED") == 1
    assert reasons.Value("ERROR_REASON_RESOURCE_NOT_FOUND") == 20
    assert reasons.Value("ERROR_REASON_LOGIN_FAILED") == 64
    assert reasons.Value("ERROR_REASON_DEADLINE_EXCEEDED") == 89
    assert reasons.Value("ERROR_REASON_CONTENT_BLOCKED") == 110


def test_descriptors_keep_the_paths_that_reflection_serves() -> None:
    pool = descriptor_pool.Default()
    for service in SERVICES:
        assert service.file.name.startswith("interview/")
        assert pool.FindServiceByName(service.full_name) is service
    assert pool.FindExtensionByName("interview.options.v1.access") is options_pb2.access


async def test_stubs_have_the_shape_of_their_calls() -> None:
    stub = agent_service_pb2_grpc.AgentServiceStub(grpc.aio.insecure_channel("127.0.0.1:1"))
    assert isinstance(stub.Chat, grpc.aio.StreamStreamMultiCallable)
    assert isinstance(stub.RunTurn, grpc.aio.UnaryStreamMultiCallable)
    assert isinstance(stub.Ask, grpc.aio.UnaryUnaryMultiCallable)
