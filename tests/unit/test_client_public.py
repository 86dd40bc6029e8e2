"""What others rely on: the exported names, a way to every method, and a light import."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import interview_client
from interview_client import Account, InterviewClient, Users
from interview_client.auth import Authenticator
from interview_client.catalogue import Catalogue
from interview_client.generated import methods

from server.generated.interview.auth.v1 import auth_service_pb2
from server.generated.interview.catalogue.v1 import (
    catalogue_service_pb2_grpc,
    film_pb2,
    resources_pb2,
)
from tests.support.scripted_server import Script, answering, connected, serving

EXPORTED = [
    "TERMINAL",
    "Aborted",
    "Account",
    "AlreadyExists",
    "Cancelled",
    "Catalogue",
    "CatalogueWatch",
    "ChatSession",
    "CredentialMissing",
    "CursorExpired",
    "CursorInvalid",
    "DataLoss",
    "DeadlineExceeded",
    "EtagMismatch",
    "FailedPrecondition",
    "FieldMaskInvalid",
    "FieldViolation",
    "FilmExport",
    "ImmutableField",
    "ImportProgress",
    "Internal",
    "InterviewClient",
    "InterviewError",
    "InvalidArgument",
    "LoginFailed",
    "LoginThrottled",
    "MemoryTokenStore",
    "ModelUnavailable",
    "NotFound",
    "OutOfRange",
    "Page",
    "PageIterator",
    "PageTokenExpired",
    "PasswordRefused",
    "PermissionDenied",
    "ProtocolViolation",
    "RankingUnavailable",
    "RateLimited",
    "ReferenceNotFound",
    "RefreshTokenReused",
    "RequestIdReused",
    "ResourceDeleted",
    "ResourceExhausted",
    "ResourceExists",
    "ResourceInUse",
    "ServerDraining",
    "SlowConsumer",
    "SnapshotBegun",
    "StepUpRequired",
    "StreamEnded",
    "Tls",
    "TokenExpired",
    "TokenRevoked",
    "TokenStore",
    "Tokens",
    "TooManyStreams",
    "TurnTimeout",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "Users",
    "ValidationFailed",
    "WatchEvent",
    "error_of_status",
    "kind_of",
]

OWN_NAMES = {
    "Login": "sign_in",
    "Logout": "sign_out",
    "RefreshToken": "token",
    "WatchCatalogue": "watch",
}


def test_the_exported_names_are_frozen() -> None:
    assert list(interview_client.__all__) == EXPORTED
    assert all(hasattr(interview_client, name) for name in EXPORTED)


async def test_every_method_of_the_api_can_be_called() -> None:
    async with InterviewClient() as client:
        parts = (client, Account, Authenticator, Catalogue, Users)
        offered = {name for part in parts for name in dir(part)}
    services = [
        methods.AuthService,
        methods.UserService,
        methods.CatalogueService,
        methods.AgentService,
    ]
    names = [
        fact.path.rpartition("/")[2]
        for service in services
        for _, fact in inspect.getmembers(service)
        if isinstance(fact, methods.Method)
    ]
    assert len(names) == 52
    missing = {
        name
        for name in names
        if OWN_NAMES.get(name, "".join(f"_{c.lower()}" if c.isupper() else c for c in name)[1:])
        not in offered
    }
    assert missing == set()


def test_importing_the_client_imports_nothing_of_the_server() -> None:
    code = (
        "import json, sys, interview_client, interview_client.messages\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "interview_client" in loaded
    forbidden = {"server", "sqlalchemy", "semantic_kernel", "openai", "grpclib", "alembic", "jwt"}
    assert loaded.isdisjoint(forbidden)


def test_the_client_is_typed_for_others() -> None:
    assert (Path(interview_client.__file__).parent / "py.typed").exists()


async def test_stubs_of_ones_own_work_beside_the_client() -> None:
    """For hot paths: protobuf's own messages over the client's channel and credential."""
    tokens = auth_service_pb2.TokenPair(access_token="a-1", refresh_token="r-1")
    tokens.refresh_after.seconds = 600
    script = Script(
        Login=answering(auth_service_pb2.LoginResponse(tokens=tokens)),
        ListFilms=answering(film_pb2.ListFilmsResponse(films=[resources_pb2.Film(name="films/1")])),
    )
    async with connected(script) as client:
        await client.sign_in("a@b.example", "right")
        stub = catalogue_service_pb2_grpc.CatalogueServiceStub(client.channel)
        request = film_pb2.ListFilmsRequest(page_size=1)
        response = await stub.ListFilms(request, metadata=await client.metadata(), timeout=5)
    assert [film.name for film in response.films] == ["films/1"]
    assert script.calls["ListFilms"][0][1] == "a-1"


async def test_a_closed_client_leaves_nothing_running() -> None:
    film = answering(resources_pb2.Film(name="films/1"))
    async with serving(Script(GetFilm=film)) as target:
        client = InterviewClient(target)
        assert (await client.catalogue.get_film(1)).name == "films/1"
        await client.close()
        await client.close()
