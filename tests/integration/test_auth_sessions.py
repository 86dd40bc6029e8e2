"""Login sessions on both databases: ended by signing out, by name, and listed until then."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from server.auth.domain import LoginSession
from server.core.audit import AuditRecord
from server.core.errors import ResourceNotFound, Unauthenticated
from server.core.paging import PageRequest
from server.core.principal import CredentialKind
from server.database.engine import Database
from tests.support.login_sessions import SessionHouse, reason_of, record_of, session_house


@pytest.fixture
async def house(shared_database: Database) -> SessionHouse:
    return await session_house(shared_database)


async def test_logout_ends_this_session_alone(house: SessionHouse) -> None:
    """ASVS 7.4.1."""
    here, there = await house.login(), await house.login()
    principal = house.principal(here)
    for _ in range(2):
        await house.logout(principal)
        assert await reason_of(house.refresh(here.tokens.refresh_token)) == "TOKEN_REVOKED"
    assert await reason_of(house.sessions.current(principal)) == "TOKEN_REVOKED"
    with pytest.raises(Unauthenticated) as caught:
        house.principal(here)
    assert caught.value.reason == "TOKEN_REVOKED"
    house.principal(there)
    await house.refresh(there.tokens.refresh_token)


async def test_logout_of_all_ends_every_session_of_the_user(house: SessionHouse) -> None:
    """ASVS 7.4.3, 7.4.5."""
    bob = await house.login(await house.add_user())
    here, there = await house.login(), await house.login()
    await house.logout(house.principal(here), all_sessions=True)
    for login in (here, there):
        with pytest.raises(Unauthenticated):
            house.principal(login)
        assert await reason_of(house.refresh(login.tokens.refresh_token)) == "TOKEN_REVOKED"
    house.principal(bob)
    await house.refresh(bob.tokens.refresh_token)


async def test_api_key_signs_out_only_sessions(house: SessionHouse) -> None:
    """ASVS 7.4.1: signing out by a key ends sessions where all of them are meant."""
    login = await house.login()
    key = replace(house.principal(login), kind=CredentialKind.API_KEY, session_id=uuid4())
    await house.logout(key)
    house.principal(login)
    await house.logout(key, all_sessions=True)
    with pytest.raises(Unauthenticated):
        house.principal(login)


async def test_api_key_of_a_barred_user_is_nobody(house: SessionHouse) -> None:
    """ASVS 7.4.2: the key of a suspended user is refused."""
    login = await house.login()
    key = replace(house.principal(login), kind=CredentialKind.API_KEY, session_id=uuid4())
    assert (await house.sessions.current(key)).user_id == login.user.user_id
    await house.set_state(house.ann, "suspended")
    assert await reason_of(house.sessions.current(key)) == "CREDENTIAL_INVALID"
    stranger = replace(key, user_id=uuid4())
    assert await reason_of(house.sessions.current(stranger)) == "CREDENTIAL_INVALID"


async def test_session_that_ended_elsewhere_is_found_out_by_current(house: SessionHouse) -> None:
    """ASVS 7.4.1: a valid token of a session that another process ended is refused."""
    login = await house.login()
    principal = house.principal(login)
    async with house.database.write() as session:
        await session.execute(text("UPDATE login_session SET revoke_time = create_time"))
    house.principal(login)
    assert await reason_of(house.sessions.current(principal)) == "TOKEN_REVOKED"
    with pytest.raises(Unauthenticated):
        house.principal(login)


async def test_principal_of_another_users_session_is_nobody(house: SessionHouse) -> None:
    """RFC 8725 3.8: the subject of a token must be the user of its session."""
    ann, bob = await house.login(), await house.login(await house.add_user())
    token, _ = house.tokens.issue(ann.user.user_id, bob.session.session_id, (), house.clock.now)
    current = house.sessions.current(house.tokens.verify(token))
    assert await reason_of(current) == "CREDENTIAL_INVALID"


async def test_list_has_what_has_not_ended_newest_first(house: SessionHouse) -> None:
    """ASVS 7.5.2."""
    user = str(house.ann.user.user_id)
    expired = await house.login()
    house.clock.advance(days=29)
    bob = await house.add_user()
    await house.login(bob)
    old, ended = await house.login(scopes=["films.read", "agent.chat"]), await house.login()
    await house.sessions.revoke(user, ended.session.session_id, record_of())
    house.clock.advance(days=2)
    new = await house.login()
    await house.refresh(old.tokens.refresh_token)
    found = await house.sessions.list_sessions(user, PageRequest(10))
    assert expired.session.expire_time < house.clock.now
    ids = [session.session_id for session in found.rows]
    assert ids == [new.session.session_id, old.session.session_id]
    assert found.next_after is None
    assert found.rows[1] == replace(old.session, last_refresh_time=house.clock.now)
    assert found.rows[1].scopes == ("films.read", "agent.chat")
    assert found.rows[0].last_refresh_time is None


async def test_pages_have_each_session_once_also_of_one_moment(house: SessionHouse) -> None:
    """AIP-158."""
    logins = []
    for number in range(7):
        logins.append(await house.login())
        house.clock.advance(seconds=number % 2)
    user = str(house.ann.user.user_id)
    seen: list[LoginSession] = []
    page = PageRequest(3)
    for _ in range(3):
        found = await house.sessions.list_sessions(user, page)
        seen += found.rows
        page = PageRequest(3, found.next_after)
    assert found.next_after is None
    assert len(seen) == len(logins) == 7
    assert {row.session_id for row in seen} == {login.session.session_id for login in logins}
    times = [row.create_time for row in seen]
    assert times == sorted(times, reverse=True)


async def test_list_of_nobody_is_told_from_an_empty_one(house: SessionHouse) -> None:
    """AIP-132: the list of a parent that there is not is not an empty list."""
    bob = await house.add_user()
    found = await house.sessions.list_sessions(str(bob.user.user_id), PageRequest(10))
    assert found.rows == []
    with pytest.raises(ResourceNotFound) as caught:
        await house.sessions.list_sessions("nobody", PageRequest(10))
    assert caught.value.metadata["resource_name"] == "users/nobody"


async def test_revoked_session_is_over_at_once_and_stays_so(house: SessionHouse) -> None:
    """ASVS 7.4.1, 7.5.2."""
    login, other = await house.login(), await house.login()
    user = str(house.ann.user.user_id)

    def record() -> AuditRecord:
        return AuditRecord("RevokeLoginSession", "request", principal=f"users/{user}")

    await house.sessions.revoke(user, login.session.session_id, record())
    with pytest.raises(Unauthenticated):
        house.principal(login)
    assert await reason_of(house.refresh(login.tokens.refresh_token)) == "TOKEN_REVOKED"
    ended = {row.session_id: row.revoke_time for row in await house.kept_sessions()}
    house.clock.advance(minutes=1)
    await house.sessions.revoke(user, login.session.session_id, record())
    assert {row.session_id: row.revoke_time for row in await house.kept_sessions()} == ended
    house.principal(other)
    methods = [row.method for row in await house.audited()]
    assert methods == ["Login", "Login", "RevokeLoginSession"]


async def test_foreign_and_unknown_sessions_are_not_found(house: SessionHouse) -> None:
    """ASVS 8.2.2: a session is looked for below its user alone."""
    bob = await house.add_user()
    theirs = await house.login(bob)
    user = str(house.ann.user.user_id)
    for session_id in (theirs.session.session_id, uuid4()):
        with pytest.raises(ResourceNotFound) as caught:
            await house.sessions.revoke(user, session_id, record_of())
        assert caught.value.message == f"users/{user}/loginSessions/{session_id} does not exist"
    house.principal(theirs)
    await house.refresh(theirs.tokens.refresh_token)


async def test_scopes_are_in_every_token_of_the_session(house: SessionHouse) -> None:
    """ASVS 8.2.1: no refresh goes beyond the scopes of the session, whatever the roles."""
    login = await house.login(scopes=["films.read"])
    assert house.principal(login).permissions == {"films.read"}
    house.clock.advance(minutes=10)
    await house.give_roles(login.user.user_id, "admin")
    pair = await house.refresh(login.tokens.refresh_token, uuid4())
    assert house.tokens.verify(pair.access_token).permissions == {"films.read"}


async def test_scopes_add_no_rights(house: SessionHouse) -> None:
    """ASVS 8.2.1: who asks for more permissions than the roles grant does not get them."""
    login = await house.login(scopes=["films.write", "users.read"])
    assert house.principal(login).permissions <= {"users.read.own"}


async def test_idle_end_lies_within_the_session(house: SessionHouse) -> None:
    """ASVS 7.3.1, 7.3.2."""
    login = await house.login()
    house.clock.advance(days=29, hours=23)
    pair = await house.refresh(login.tokens.refresh_token)
    assert pair.refresh_expire_time - house.clock.now == timedelta(hours=1)
