"""The rules of methods: read from the contract, and no server without them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodOptions
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message_factory import GetMessageClass

from server.app import AGENT, AUTH, CATALOGUE, SERVICES
from server.core.errors import PermissionDenied, Unauthenticated
from server.core.principal import Principal
from server.core.roles import permissions_of
from server.generated.interview.auth.v1.auth_service_pb2 import LoginRequest, LoginResponse
from server.generated.interview.options.v1 import options_pb2
from server.rpc.call import Call
from server.rpc.methods import methods_of
from server.rpc.policy import CallClass, MethodPolicy, PolicyError, infrastructure, policy_of


def _method(change: Callable[[MethodOptions], None]) -> MethodDescriptor:
    """Return a method with changed options, whose request has the field `name` and some others."""
    file = FileDescriptorProto(
        name=f"test/{uuid4().hex}.proto", package=f"test_{uuid4().hex}", syntax="proto3"
    )
    message = file.message_type.add(name="Request")
    message.field.add(name="name", number=1, type=9, label=1)
    message.field.add(name="names", number=2, type=9, label=3)
    for number, (name, label) in enumerate((("self", 1), ("others", 3)), start=3):
        field = message.field.add(name=name, number=number, type=11, label=label)
        field.type_name = f".{file.package}.Request"
    service = file.service.add(name="Service")
    method = service.method.add(
        name="Do", input_type=f".{file.package}.Request", output_type=f".{file.package}.Request"
    )
    change(method.options)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool.FindServiceByName(f"{file.package}.Service").methods_by_name["Do"]


def _principal(*roles: str) -> Principal:
    now = datetime.now(UTC)
    return Principal(
        uuid4(), uuid4(), roles, permissions_of(roles), now, now + timedelta(minutes=15)
    )


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)
def test_every_method_of_the_contract_has_a_rule(service: object) -> None:
    """ASVS 8.2.1: what needs no permission is named here."""
    for method in service.methods:  # type: ignore[attr-defined]  # a ServiceDescriptor
        policy = policy_of(method)
        anybody = {
            "Logout",
            "GetCurrentPrincipal",
            "TestPermissions",
            "ChangePassword",
            "ListRoles",
        }
        assert policy.public or policy.permissions or method.name in anybody


def _no_rule(options: MethodOptions) -> None:
    options.idempotency_level = MethodOptions.IDEMPOTENT


def _empty_rule(options: MethodOptions) -> None:
    options.Extensions[options_pb2.access].audit = options_pb2.AUDIT_LEVEL_METADATA


def _no_permission(options: MethodOptions) -> None:
    options.Extensions[options_pb2.access].permissions.SetInParent()


def _unknown_permission(options: MethodOptions) -> None:
    options.Extensions[options_pb2.access].permissions.all_of.append("films.paint")


def _owned(owner_field: str, permission: str = "users.read") -> Callable[[MethodOptions], None]:
    def change(options: MethodOptions) -> None:
        options.Extensions[options_pb2.access].permissions.all_of.append(permission)
        options.Extensions[options_pb2.access].owner_field = owner_field

    return change


def _access(**fields: Any) -> Callable[[MethodOptions], None]:
    def change(options: MethodOptions) -> None:
        options.Extensions[options_pb2.access].MergeFrom(options_pb2.AccessPolicy(**fields))

    return change


def _unknown_bucket(options: MethodOptions) -> None:
    options.Extensions[options_pb2.access].authenticated = True
    options.Extensions[options_pb2.limits].bucket = "bath"


API_KEY = options_pb2.CREDENTIAL_KIND_API_KEY
UNSPECIFIED_KIND = options_pb2.CREDENTIAL_KIND_UNSPECIFIED
AGE = Duration(seconds=900)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_no_rule, "has no"),
        (_empty_rule, "without a rule"),
        (_no_permission, "names none"),
        (_unknown_permission, "films.paint, which no role grants"),
        (_owned("name.owner"), "owner field name.owner"),
        (_owned("parent"), "owner field parent"),
        (_owned("self"), "owner field self, which is not one string"),
        (_owned("others.name"), "owner field others.name, which is not one string"),
        (_owned("names"), "owner field names, which is not one string"),
        (_owned("name", "films.write"), "no role grants films.write.own"),
        (_access(authenticated=True, owner_field="name"), "no permissions that it could relax"),
        (_access(public=True, owner_field="name"), "is public and asks"),
        (_access(public=True, credential_kinds=[API_KEY]), "is public and asks"),
        (_access(public=True, max_auth_age=AGE), "is public and asks"),
        (_access(public=False), "says public: false"),
        (_access(authenticated=False), "says authenticated: false"),
        (_access(authenticated=True, credential_kinds=[UNSPECIFIED_KIND]), "kind of credential"),
        (_access(authenticated=True, credential_kinds=[API_KEY, 77]), "kind of credential"),
        (_access(authenticated=True, audit=77), "audit level"),
        (
            _access(authenticated=True, credential_kinds=[API_KEY], max_auth_age=AGE),
            "API keys alone for a password",
        ),
        (_unknown_bucket, "rate bucket bath"),
    ],
)
def test_a_method_without_a_rule_that_can_be_met_stops_the_start(
    change: Callable[[MethodOptions], None], said: str
) -> None:
    """ASVS 8.2.1: access is by an explicit rule, and never for want of one."""
    with pytest.raises(PolicyError, match=said):
        policy_of(_method(change))


class _Silent:
    """Answers nothing."""


def test_a_service_with_such_a_method_is_not_served() -> None:
    """ASVS 8.3.1: the rules are read where methods get their routes, so none gets one without."""
    sound = _method(_access(authenticated=True))
    assert methods_of(sound.containing_service, _servicer_of(sound))
    method = _method(_access(authenticated=True, owner_field="name"))
    with pytest.raises(PolicyError, match="no permissions that it could relax"):
        methods_of(method.containing_service, _servicer_of(method))


def _servicer_of(method: MethodDescriptor) -> object:
    """Return what answers `Do` with the types that the contract says."""

    async def answer(self: object, request: Any, call: Call) -> Any:
        raise AssertionError

    message = GetMessageClass(method.input_type)
    answer.__annotations__ = {"request": message, "call": Call, "return": message}
    return type("Servicer", (), {"Do": answer})()


class _Mistyped:
    """Answers Login alone, and takes the wrong message."""

    async def Login(self, request: LoginResponse, call: Call) -> LoginRequest:
        raise AssertionError


@pytest.mark.parametrize(
    ("servicer", "said"), [(_Silent(), "0 of _Silent answer"), (_Mistyped(), "stands where")]
)
def test_a_servicer_that_leaves_the_contract_stops_the_start(servicer: object, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        methods_of(AUTH, servicer)


def _policy(service: object, method: str) -> MethodPolicy:
    return policy_of(service.methods_by_name[method])  # type: ignore[attr-defined]  # descriptor


def test_a_viewer_reads_and_a_stranger_does_not() -> None:
    """ASVS 8.2.1."""
    policy = _policy(CATALOGUE, "GetFilm")
    policy.authorize(_principal("viewer"), datetime.now(UTC))
    with pytest.raises(Unauthenticated) as missing:
        policy.authorize(None, datetime.now(UTC))
    assert missing.value.reason == "CREDENTIAL_MISSING"
    with pytest.raises(PermissionDenied) as denied:
        policy.authorize(_principal(), datetime.now(UTC))
    assert denied.value.metadata["permission"] == "films.read"
    assert denied.value.metadata["method"].endswith("/GetFilm")


def test_a_public_method_asks_nobody() -> None:
    _policy(AUTH, "Login").authorize(None, datetime.now(UTC))


def test_deadlines_come_from_the_contract() -> None:
    policy = _policy(CATALOGUE, "ListFilms")
    assert policy.default_deadline == timedelta(seconds=5)
    assert policy.max_deadline == timedelta(seconds=10)
    chat = _policy(AGENT, "Chat")
    assert (chat.default_deadline, chat.max_request_bytes) == (None, 65536)


@pytest.mark.parametrize(
    ("service", "method", "call_class", "bucket", "cost", "streams"),
    [
        (AUTH, "Login", CallClass.LOGIN, "login", 10, 0),
        (AUTH, "RefreshToken", CallClass.LOGIN, "login", 2, 0),
        (AUTH, "Logout", CallClass.WRITE, "read", 1, 0),
        (CATALOGUE, "SearchFilms", CallClass.READ, "read", 3, 0),
        (AGENT, "ListAgents", CallClass.READ, "read", 1, 0),
        (AGENT, "Ask", CallClass.CHAT, "agent", 5, 0),
        (AGENT, "Chat", CallClass.CHAT, "agent", 5, 5),
    ],
)
def test_class_and_limits_come_from_the_contract(
    service: object, method: str, call_class: CallClass, bucket: str, cost: int, streams: int
) -> None:
    policy = _policy(service, method)
    found = (policy.call_class, policy.bucket, policy.cost, policy.max_streams)
    assert found == (call_class, bucket, cost, streams)


def test_method_that_names_no_limits_is_a_write_and_probes_are_a_class_of_their_own() -> None:
    def change(options: MethodOptions) -> None:
        options.Extensions[options_pb2.access].authenticated = True

    policy = policy_of(_method(change))
    assert (policy.call_class, policy.bucket) == (CallClass.WRITE, "write")
    assert infrastructure("/grpc.health.v1.Health/Check").call_class is CallClass.PROBE
