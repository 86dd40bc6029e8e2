"""Login sessions through a real server: scopes, lists, ends, repeats, and what is kept of them."""

import json
from pathlib import Path
from shutil import copy
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from server.audit.models import AuditEvent
from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from tests.support.api_keys import Owner, bearer
from tests.support.auth import MovableClock
from tests.support.caller import SECONDS
from tests.support.running import PASSWORD, Running, running_server
from tests.support.statuses import check_row, refused


@pytest.fixture
async def owner(shared: Running) -> Owner:
    """A viewer with one session."""
    return await Owner.new(shared)


@pytest.fixture
async def admin(shared: Running) -> Owner:
    """An administrator."""
    return await Owner.new(shared, "admin")


async def _login(owner: Owner, *scopes: str) -> Any:
    request = auth.LoginRequest(
        email=owner.email, password=PASSWORD, device_label="laptop", scopes=scopes
    )
    return await owner.auth.Login(request, timeout=SECONDS)


def _as(owner: Owner, login: Any) -> Owner:
    return Owner(owner.running, owner.user, bearer(login.tokens.access_token), owner.email)


async def _list(owner: Owner, parent: str = "", **wanted: Any) -> Any:
    request = auth.ListLoginSessionsRequest(parent=parent or owner.user, **wanted)
    return await owner.auth.ListLoginSessions(request, metadata=owner.metadata, timeout=SECONDS)


async def _revoke(owner: Owner, name: str) -> None:
    request = auth.RevokeLoginSessionRequest(name=name)
    await owner.auth.RevokeLoginSession(request, metadata=owner.metadata, timeout=SECONDS)


def _refresh(owner: Owner, token: str, request_id: str = "") -> Any:
    request = auth.RefreshTokenRequest(refresh_token=token, request_id=request_id)
    return owner.auth.RefreshToken(request, timeout=SECONDS)


async def test_sessions_are_listed_and_the_own_is_marked(
    owner: Owner, movable: MovableClock
) -> None:
    """ASVS 7.5.2."""
    movable.advance(seconds=1)
    login = await _login(owner, "films.read", "users.sessions.read.own")
    (listed, first) = (await _list(_as(owner, login))).login_sessions
    assert listed.name == login.login_session
    assert (listed.device_label, listed.ip_address) == ("laptop", "127.0.0.1")
    assert "grpc" in listed.user_agent
    assert list(listed.scopes) == ["films.read", "users.sessions.read.own"]
    assert (listed.current, first.current) == (True, False)
    assert not listed.HasField("last_refresh_time")
    assert listed.expire_time.seconds - listed.create_time.seconds == 30 * 24 * 3600
    seen = (await _list(owner)).login_sessions
    assert [session.current for session in seen] == [False, True]


async def test_pages_of_sessions(owner: Owner) -> None:
    """AIP-158: sealed tokens, bound to the parent."""
    for _ in range(4):
        await _login(owner)
    first = await _list(owner, page_size=3)
    rest = await _list(owner, page_size=3, page_token=first.next_page_token)
    names = [session.name for page in (first, rest) for session in page.login_sessions]
    assert len(names) == len(set(names)) == 5
    assert rest.next_page_token == ""
    for parent, token, reason in (
        (owner.user, "nonsense", "PAGE_TOKEN_INVALID"),
        (f"users/{uuid4()}", first.next_page_token, "RESOURCE_NOT_FOUND"),
    ):
        check_row(await refused(_list(owner, parent, page_token=token)), reason)


async def test_a_page_token_of_another_user_is_a_mismatch(owner: Owner, admin: Owner) -> None:
    """AIP-158."""
    await _login(owner)
    first = await _list(admin, owner.user, page_size=1)
    told = await refused(_list(admin, admin.user, page_token=first.next_page_token))
    check_row(told, "PAGE_TOKEN_MISMATCH")
    assert told.metadata == {"changed_fields": "parent"}


async def test_revoked_session_is_refused_at_once(owner: Owner) -> None:
    """ASVS 7.4.1, 7.5.2."""
    login = await _login(owner)
    other = _as(owner, login)
    assert await other.film() == "films/1"
    for _ in range(2):
        await _revoke(owner, login.login_session)
        assert (await refused(other.film())).reason == "TOKEN_REVOKED"
    assert (await refused(_refresh(owner, login.tokens.refresh_token))).reason == "TOKEN_REVOKED"
    assert await owner.film() == "films/1"
    assert len((await _list(owner)).login_sessions) == 1


async def test_sessions_of_others_look_like_none(owner: Owner, admin: Owner) -> None:
    """ASVS 8.2.2, 8.2.3: foreign and absent are told alike."""
    stranger = await Owner.new(owner.running)
    (theirs,) = (await _list(stranger)).login_sessions
    absent = f"{stranger.user}/loginSessions/{uuid4()}"
    for name in (theirs.name, absent):
        told = await refused(_revoke(owner, name))
        check_row(told, "RESOURCE_NOT_FOUND")
        assert told.message == f"{name} does not exist"
        assert told.by_kind["ResourceInfo"].resource_type == "interview-api/LoginSession"
    told = await refused(_revoke(admin, absent))
    assert (told.reason, told.message) == ("RESOURCE_NOT_FOUND", f"{absent} does not exist")
    told = await refused(_list(owner, stranger.user))
    check_row(told, "RESOURCE_NOT_FOUND")
    assert await stranger.film() == "films/1"


async def test_an_administrator_ends_sessions_of_others(owner: Owner, admin: Owner) -> None:
    """ASVS 7.4.5."""
    (session,) = (await _list(admin, owner.user)).login_sessions
    assert not session.current
    await _revoke(admin, session.name)
    assert (await refused(owner.film())).reason == "TOKEN_REVOKED"
    assert list((await _list(admin, owner.user)).login_sessions) == []
    told = await refused(_list(admin, "users/no-such-user"))
    check_row(told, "RESOURCE_NOT_FOUND")
    assert told.metadata["resource_name"] == "users/no-such-user"


@pytest.mark.parametrize(
    "name", ["", "users", "films/1", "users/u/loginSessions/1", "users/u/apiKeys/" + "0" * 36]
)
async def test_what_is_no_name_is_said_so_to_an_administrator(admin: Owner, name: str) -> None:
    """ASVS 2.2.1, AIP-122: what is no name of a session is refused."""
    told = await refused(_revoke(admin, name))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == ["name"]


async def test_sizes_of_pages_have_bounds(admin: Owner) -> None:
    """AIP-158: a negative size is refused."""
    told = await refused(_list(admin, "user/1", page_size=-1))
    check_row(told, "VALIDATION_FAILED")
    assert sorted(told.bad_fields) == ["page_size", "parent"]


async def test_scopes_limit_a_session(owner: Owner, admin: Owner) -> None:
    """ASVS 8.4.2 by least privilege; a scope adds no right."""
    narrow = _as(admin, await _login(admin, "films.read"))
    assert await narrow.film() == "films/1"
    assert (await refused(_list(narrow))).reason == "PERMISSION_DENIED"
    assert list((await narrow.principal()).permissions) == ["films.read"]
    greedy = _as(owner, await _login(owner, "films.write", "users.sessions.revoke"))
    assert await greedy.may("films.write", "users.sessions.revoke") == []
    assert (await refused(greedy.film())).reason == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("scopes", "field"),
    [
        (["films.raed"], "scopes[0]"),
        (["films.read", ""], "scopes[1]"),
        (["films.read", "films.read"], "scopes"),
        (["films.read"] * 65, "scopes"),
    ],
)
async def test_scopes_that_are_none(owner: Owner, scopes: list[str], field: str) -> None:
    """ASVS 2.2.1: scopes are known ones, each named once."""
    told = await refused(_login(owner, *scopes))
    check_row(told, "VALIDATION_FAILED")
    assert field in told.bad_fields


async def test_a_lost_answer_comes_again_by_its_request_id(owner: Owner) -> None:
    """RFC 9700 4.14.2."""
    login, request_id = await _login(owner), str(uuid4())
    await _refresh(owner, login.tokens.refresh_token, request_id)
    again = await _refresh(owner, login.tokens.refresh_token, request_id.upper())
    renewed = Owner(owner.running, owner.user, bearer(again.tokens.access_token))
    assert await renewed.film() == "films/1"
    await _refresh(owner, again.tokens.refresh_token)
    told = await refused(_refresh(owner, login.tokens.refresh_token, request_id))
    check_row(told, "REFRESH_TOKEN_REUSED")
    assert (await refused(renewed.film())).reason == "TOKEN_REVOKED"


async def test_a_request_id_is_a_uuid(owner: Owner) -> None:
    """AIP-155."""
    login = await _login(owner)
    told = await refused(_refresh(owner, login.tokens.refresh_token, "again"))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == ["request_id"]


async def test_an_api_key_asks_who_it_is_and_ends_sessions(owner: Owner) -> None:
    """ASVS 7.4.1, 7.5.2: a key ends its owner's sessions where all of them are meant."""
    program = owner.with_key((await owner.create()).secret)
    principal = await program.principal()
    assert (principal.user.name, principal.login_session) == (owner.user, "")
    assert principal.api_key.startswith(f"{owner.user}/apiKeys/")
    for all_sessions, reason in ((False, ""), (True, "TOKEN_REVOKED")):
        request = auth.LogoutRequest(all_sessions=all_sessions)
        await program.auth.Logout(request, metadata=program.metadata, timeout=SECONDS)
        if reason:
            assert (await refused(owner.film())).reason == reason
        else:
            assert await owner.film() == "films/1"
    assert await program.film() == "films/1"


async def test_each_change_of_a_session_is_in_the_audit_trail_once(owner: Owner) -> None:
    """ASVS 16.3.1; no secret is in it (16.2.5)."""
    (own,) = (await _list(owner)).login_sessions
    login = await _login(owner)
    renewed = await _refresh(owner, login.tokens.refresh_token, str(uuid4()))
    await refused(_refresh(owner, login.tokens.refresh_token))
    await _revoke(owner, own.name)
    last = _as(owner, await _login(owner))
    for caller, all_sessions in ((_as(owner, await _login(owner)), False), (last, True)):
        request = auth.LogoutRequest(all_sessions=all_sessions)
        await caller.auth.Logout(request, metadata=caller.metadata, timeout=SECONDS)
    rows = await owner.running.app.database.read.all(
        select(AuditEvent.__table__)
        .where(AuditEvent.principal == owner.user)
        .order_by(AuditEvent.event_id)
    )
    told = [(row.method.rpartition("/")[2], row.outcome, row.target) for row in rows]
    assert told == [
        ("Login", "OK", own.name),
        ("Login", "OK", login.login_session),
        ("RefreshToken", "OK", login.login_session),
        ("RefreshToken", "REFRESH_TOKEN_REUSED", login.login_session),
        ("RevokeLoginSession", "OK", own.name),
        ("Login", "OK", rows[5].credential),
        ("Login", "OK", rows[6].credential),
        ("Logout", "OK", rows[6].credential),
        ("Logout", "OK", owner.user),
    ]
    assert rows[8].credential == rows[5].credential
    kept = json.dumps([[str(value) for value in row] for row in rows])
    for secret in (PASSWORD, renewed.tokens.refresh_token, login.tokens.refresh_token):
        assert secret not in kept


async def test_settings_say_how_long_sessions_last(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    """ASVS 7.1.1, 7.3.2."""
    copy(sqlite_templates["sample"], tmp_path / "test.db")
    url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    async with running_server(url, tmp_path, session_days=7, refresh_grace_seconds=0) as running:
        owner, request_id = await Owner.new(running), str(uuid4())
        login = await _login(owner)
        (session, _) = (await _list(owner)).login_sessions
        assert session.expire_time.seconds - session.create_time.seconds == 7 * 24 * 3600
        assert login.tokens.refresh_expire_time == session.expire_time
        await _refresh(owner, login.tokens.refresh_token, request_id)
        told = await refused(_refresh(owner, login.tokens.refresh_token, request_id))
        assert told.reason == "REFRESH_TOKEN_REUSED"
