"""Somebody else's resources, for each method that lets callers have their own alone."""

from collections.abc import Mapping
from uuid import UUID, uuid4

import pytest
from google.protobuf.descriptor import MethodDescriptor

from server.core.resource_names import user_id_of
from server.core.roles import ROLES
from server.generated.interview.auth.v1 import auth_service_pb2, resources_pb2, user_service_pb2
from tests.support.any_method import METHODS, access_of, outcome, owner_request, path_of
from tests.support.caller import Caller
from tests.support.running import PASSWORD, Running
from tests.support.statuses import Told, check_row

OWNED = [method for method in METHODS if access_of(method).owner_field]
OWN_ALONE = [
    method for method in OWNED if not set(access_of(method).permissions.all_of) <= ROLES["viewer"]
]
"""Those that a viewer may call for what is the viewer's own."""

FORMS = ("{user}", "{session}", "{key}")
"""Of names; most methods know one of them, and whose it is must be decided for all."""


async def _somebody(running: Running, role: str = "viewer") -> Caller:
    """Return a new user who has signed in."""
    email = f"{uuid4().hex}@example.com"
    await running.app.users.create_user(email, PASSWORD, [role])
    return await Caller.signed_in(running, email)


async def _names(caller: Caller) -> Mapping[str, str]:
    """Return names of resources that the caller has."""
    who = await caller.GetCurrentPrincipal(auth_service_pb2.GetCurrentPrincipalRequest())
    key = resources_pb2.ApiKey(display_name="program", scopes=["films.read"])
    request = user_service_pb2.CreateApiKeyRequest(parent=who.user.name, api_key=key)
    made = await caller.CreateApiKey(request)
    return {"user": who.user.name, "session": who.login_session, "key": made.api_key.name}


def _absent(user: str) -> Mapping[str, str]:
    """Return names of nothing below a user, who need not exist."""
    return {
        "user": user,
        "session": f"{user}/loginSessions/{uuid4()}",
        "key": f"{user}/apiKeys/{uuid4()}",
    }


def _whole(told: Told | None, name: str) -> tuple[object, ...]:
    """Return all of a status but the name that was asked for and the call's own id."""
    assert told is not None
    details = {kind: str(one) for kind, one in told.by_kind.items() if kind != "RequestInfo"}
    text = str((told.code, told.message, sorted(details.items())))
    return text.count(name), text.replace(name, "NAME")


@pytest.mark.parametrize("method", OWN_ALONE, ids=lambda method: str(method.name))
async def test_somebody_elses_is_answered_like_what_is_not_there(
    shared: Running, method: MethodDescriptor
) -> None:
    """ASVS 8.2.2: a name that can be guessed opens nothing and tells nothing."""
    other = await _somebody(shared)
    theirs = await _names(other)
    metadata = (await _somebody(shared)).metadata
    for form in FORMS:
        answers = set()
        for names in (theirs, _absent(f"users/{uuid4()}"), _absent("users/nobody-at-all")):
            name = form.format_map(names)
            told = await outcome(shared.channel, method, metadata, owner_request(method, name))
            assert told is not None, path_of(method)
            check_row(told, "RESOURCE_NOT_FOUND")
            answers.add(_whole(told, name))
        assert len(answers) == 1, answers
    # Nothing has happened to what the names are of.
    await other.GetUser(user_service_pb2.GetUserRequest(name=theirs["user"]))
    keys = await other.ListApiKeys(user_service_pb2.ListApiKeysRequest(parent=theirs["user"]))
    assert theirs["key"] in {key.name for key in keys.api_keys}


@pytest.mark.parametrize("method", OWN_ALONE, ids=lambda method: str(method.name))
async def test_another_spelling_of_ones_own_name_is_not_ones_own(
    shared: Running, method: MethodDescriptor
) -> None:
    """ASVS 8.2.2: or the check and the search would read a name differently."""
    caller = await _somebody(shared)
    mine = (await _names(caller))["user"]
    for name in (
        mine.upper().replace("USERS", "users"),
        mine.replace("users/", "users//"),
        f"{mine} ",
        f" {mine}",
        f"{mine}\n",
        mine.replace("-", ""),
        f"users/{{{mine.removeprefix('users/')}}}",
        f"users/urn:uuid:{mine.removeprefix('users/')}",
        f"films/1/{mine}",
        "users/-",
        "users/me",
        "",
    ):
        told = await outcome(shared.channel, method, caller.metadata, owner_request(method, name))
        assert told is not None, name
        check_row(told, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("method", OWN_ALONE, ids=lambda method: str(method.name))
async def test_ones_own_passes(shared: Running, method: MethodDescriptor) -> None:
    """ASVS 8.2.2: the same methods answer for what is the caller's."""
    caller = await _somebody(shared)
    mine = await _names(caller)
    form = {"RevokeLoginSession": "session", "DeleteApiKey": "key"}.get(method.name, "user")
    request = owner_request(method, mine[form])
    told = await outcome(shared.channel, method, caller.metadata, request)
    assert told is None or told.code.name == "INVALID_ARGUMENT", told


@pytest.mark.parametrize(
    ("name", "form"), [("RevokeLoginSession", "session"), ("DeleteApiKey", "key")]
)
async def test_below_oneself_what_is_not_there_looks_like_somebody_elses(
    shared: Running, name: str, form: str
) -> None:
    """ASVS 8.2.2: whichever layer says so, it says the same."""
    (method,) = (method for method in OWNED if method.name == name)
    caller = await _somebody(shared)
    me = (await _names(caller))["user"]
    theirs = (await _names(await _somebody(shared)))[form]
    answers = set()
    for asked in (_absent(me)[form], theirs):
        told = await outcome(shared.channel, method, caller.metadata, owner_request(method, asked))
        answers.add(_whole(told, asked))
    assert len(answers) == 1, answers


async def test_who_may_see_everybody_sees_everybody(shared: Running) -> None:
    """ASVS 8.2.2: the rule of owners takes nothing from who has the permission itself."""
    theirs = await _names(await _somebody(shared))
    metadata = (await _somebody(shared, "admin")).metadata
    for method in OWNED:
        if method.name in {"DeleteApiKey", "RevokeLoginSession", "CreateApiKey"}:
            continue
        request = owner_request(method, theirs["user"])
        told = await outcome(shared.channel, method, metadata, request)
        assert told is None or told.code.name == "INVALID_ARGUMENT", (path_of(method), told)


def test_a_name_stands_for_one_user_alone() -> None:
    """ASVS 8.2.2: no id that somebody may choose is the UUID of somebody else."""
    taken = uuid4()
    assert user_id_of(str(taken)) == taken
    spellings = {str(taken).upper(), taken.hex, f"{{{taken}}}", taken.urn}
    assert taken not in {user_id_of(one) for one in spellings}
    assert isinstance(user_id_of("anna"), UUID)
