"""Who may call what: every method, every role, and callers that nobody knows or programs are.

What is expected is computed here from the options of the contract and the table of roles.
"""

import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor

from server.core.roles import PERMISSIONS, ROLES
from server.generated.interview.auth.v1 import auth_service_pb2, resources_pb2, user_service_pb2
from server.generated.interview.options.v1 import options_pb2
from tests.support.any_method import METHODS, access_of, outcome, path_of
from tests.support.caller import Caller, Metadata
from tests.support.running import PASSWORD, Running, running_server
from tests.support.statuses import Told, check_row, refused

NOBODY = "no role"
ENDS_SESSIONS = "Logout"
DEMANDING = [method for method in METHODS if access_of(method).WhichOneof("rule") != "public"]


@pytest.fixture(scope="module")
async def server(
    sqlite_templates: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """A server with a user of each role; rights are decided before any database is asked."""
    folder = tmp_path_factory.mktemp("rights")
    shutil.copy(sqlite_templates["sample"], folder / "test.db")
    url = f"sqlite+aiosqlite:///{folder / 'test.db'}"
    buckets = ("read", "write", "agent", "watch", "bulk")
    limits: dict[str, Any] = {f"{bucket}_rate": 0 for bucket in buckets}
    async with running_server(url, folder, **limits) as running:
        await running.app.agents_ready()
        for role in (NOBODY, *ROLES):
            roles = [role] if role in ROLES else []
            await running.app.users.create_user(_email(role), PASSWORD, roles)
        yield running


@pytest.fixture(scope="module")
async def credentials(server: Running) -> Mapping[str, Metadata]:
    """An access token of each role."""
    return {role: await server.sign_in(_email(role)) for role in (NOBODY, *ROLES)}


def _email(role: str) -> str:
    return f"the-{role.replace(' ', '-')}@example.com"


def _missing(method: MethodDescriptor, role: str) -> list[str]:
    """Return the permissions that the role lacks for the method, by the contract alone."""
    access, granted = access_of(method), ROLES.get(role, frozenset())
    return sorted(
        permission
        for permission in access.permissions.all_of
        if permission not in granted and not (access.owner_field and f"{permission}.own" in granted)
    )


def _refused_by_rights(told: Told | None) -> bool:
    return told is not None and told.code.name in {"UNAUTHENTICATED", "PERMISSION_DENIED"}


@pytest.mark.parametrize("role", [NOBODY, *ROLES])
async def test_a_role_may_call_what_the_contract_says_and_nothing_else(
    server: Running, credentials: Mapping[str, Metadata], role: str
) -> None:
    """ASVS 8.2.1, 8.3.1: each method asks for explicit permissions, at the server."""
    denied = 0
    for method in METHODS:
        fresh = method.name == ENDS_SESSIONS
        metadata = await server.sign_in(_email(role)) if fresh else credentials[role]
        told = await outcome(server.channel, method, metadata)
        missing = _missing(method, role)
        if not missing:
            assert not _refused_by_rights(told), (path_of(method), told)
            continue
        denied += 1
        assert told is not None, path_of(method)
        check_row(told, "PERMISSION_DENIED")
        assert told.metadata["permission"] == missing[0]
        assert told.metadata["method"] == path_of(method)
        assert told.metadata["subject"].startswith("users/")
    assert denied or role == "admin"


def test_the_table_of_roles_grants_the_administrator_every_method() -> None:
    """Nothing in the contract is out of everybody's reach."""
    assert [path_of(method) for method in METHODS if _missing(method, "admin")] == []
    assert {name.removesuffix(".own") for name in PERMISSIONS} <= ROLES["admin"]


@pytest.mark.parametrize("method", DEMANDING, ids=lambda method: str(method.name))
async def test_without_a_credential_only_public_methods_answer(
    server: Running, method: MethodDescriptor
) -> None:
    """ASVS 8.2.1, 8.3.1: nobody is let in whom nobody knows."""
    told = await outcome(server.channel, method, ())
    assert told is not None
    check_row(told, "CREDENTIAL_MISSING")


async def test_public_methods_ask_for_nobody(server: Running) -> None:
    public = [method for method in METHODS if method not in DEMANDING]
    assert {method.name for method in public} >= {"Login", "RefreshToken", "GetJsonWebKeySet"}
    for method in public:
        assert not _refused_by_rights(await outcome(server.channel, method, ())), path_of(method)


async def test_an_api_key_is_enough_where_the_contract_does_not_ask_for_a_person(
    server: Running, credentials: Mapping[str, Metadata]
) -> None:
    """ASVS 8.2.1, 7.5.3: a key that lies in a file changes neither passwords nor roles."""
    metadata = await _key(server, credentials["admin"])
    tokens_alone = []
    for method in DEMANDING:
        if method.name == ENDS_SESSIONS:
            continue
        told = await outcome(server.channel, method, metadata)
        kinds = access_of(method).credential_kinds
        if not kinds or options_pb2.CREDENTIAL_KIND_API_KEY in kinds:
            assert not _refused_by_rights(told), (path_of(method), told)
            continue
        tokens_alone.append(method.name)
        assert told is not None, path_of(method)
        check_row(told, "PERMISSION_DENIED")
        assert "access token" in told.message
    assert {"ChangePassword", "GrantRole", "RevokeRole", "DeleteUser"} <= set(tokens_alone)


async def _key(server: Running, metadata: Metadata) -> Metadata:
    """Make an API key for the caller, with every permission that the caller has."""
    caller = Caller(server, metadata)
    who = await caller.GetCurrentPrincipal(auth_service_pb2.GetCurrentPrincipalRequest())
    key = resources_pb2.ApiKey(display_name="program", scopes=list(who.permissions))
    request = user_service_pb2.CreateApiKeyRequest(parent=who.user.name, api_key=key)
    made = await caller.CreateApiKey(request)
    return (("x-api-key", made.secret),)


async def _granted(
    server: Running, metadata: Metadata, *permissions: str, resource: str = ""
) -> list[str]:
    request = auth_service_pb2.TestPermissionsRequest(resource=resource, permissions=permissions)
    return list((await Caller(server, metadata).TestPermissions(request)).permissions)


ASKED = ("users.read", "films.read", "users.read.own", "films.write", "rentals.read.own")


ANYBODYS = ("films.read",)
OWN = ("users.read", "films.read", "users.read.own")


@pytest.mark.parametrize(
    ("role", "resource", "granted"),
    [
        (NOBODY, "", ()),
        ("viewer", "", ("films.read", "users.read.own")),
        ("viewer", "films/1", ANYBODYS),
        ("viewer", "own", OWN),
        ("viewer", "own/apiKeys/x", OWN),
        ("viewer", "users/somebody-else", ANYBODYS),
        ("viewer", "nonsense\n", ANYBODYS),
        ("admin", "", ASKED),
        ("admin", "users/somebody-else", ASKED),
    ],
)
async def test_permissions_are_told_as_calls_are_decided(
    server: Running,
    credentials: Mapping[str, Metadata],
    role: str,
    resource: str,
    granted: tuple[str, ...],
) -> None:
    """ASVS 8.2.2: what is one's own is told apart from what is not."""
    metadata = credentials[role]
    who = await Caller(server, metadata).GetCurrentPrincipal(
        auth_service_pb2.GetCurrentPrincipalRequest()
    )
    asked = resource.replace("own", who.user.name, 1) if resource.startswith("own") else resource
    assert await _granted(server, metadata, *ASKED, resource=asked) == list(granted)


async def test_what_is_told_of_every_permission_is_what_the_role_grants(
    server: Running, credentials: Mapping[str, Metadata]
) -> None:
    """ASVS 8.2.1: a role has the permissions that its table names, and no others."""
    for role, permissions in ROLES.items():
        everybodys = sorted({name for name in PERMISSIONS if not name.endswith(".own")})
        told = await _granted(server, credentials[role], *everybodys)
        assert told == [name for name in everybodys if name in permissions]


async def test_a_permission_that_there_is_not_is_named_by_its_place(
    server: Running, credentials: Mapping[str, Metadata]
) -> None:
    """ASVS 2.2.1: a misspelt name must not look like a permission that the caller lacks."""
    wrong = ["films.read", "films.paint", "films.read.own.own", "", "films.read"]
    for number, name in enumerate(wrong[1:4], start=1):
        request = auth_service_pb2.TestPermissionsRequest(
            permissions=[*("films.read", "films.write", "users.read")[:number], name]
        )
        told = await refused(Caller(server, credentials["viewer"]).TestPermissions(request))
        check_row(told, "VALIDATION_FAILED")
        assert told.bad_fields == [f"permissions[{number}]"]
    for permissions in ([], wrong[::4], ["films.read"] * 101):
        request = auth_service_pb2.TestPermissionsRequest(permissions=permissions)
        told = await refused(Caller(server, credentials["viewer"]).TestPermissions(request))
        check_row(told, "VALIDATION_FAILED")
        assert told.bad_fields == ["permissions"]
