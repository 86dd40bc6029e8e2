"""Refresh tokens on both databases: used once, by one; what a used one does that comes again."""

import asyncio
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from server.auth.rotation import MAX_REPEATS
from server.auth.token_pairs import TokenPair
from server.core.errors import Unauthenticated
from server.database.engine import Database
from tests.support.amount import amount
from tests.support.login_sessions import SessionHouse, reason_of, session_house

END_ALL = text("UPDATE login_session SET revoke_time = create_time")


@pytest.fixture
async def house(shared_database: Database) -> SessionHouse:
    return await session_house(shared_database)


async def test_refresh_gives_new_tokens_and_keeps_the_session(house: SessionHouse) -> None:
    """ASVS 10.4.5, 8.3.2: each refresh gives another token, with the roles of now."""
    login = await house.login()
    house.clock.advance(minutes=10)
    await house.give_roles(login.user.user_id, "staff", "viewer")
    pair = await house.refresh(login.tokens.refresh_token)
    principal = house.tokens.verify(pair.access_token)
    assert pair.refresh_token != login.tokens.refresh_token
    assert principal.session_id == login.session.session_id
    assert principal.roles == ("staff", "viewer")
    assert principal.auth_time == login.session.create_time
    assert pair.access_expire_time == house.clock.now + timedelta(minutes=15)
    again = await house.refresh(pair.refresh_token)
    assert house.tokens.verify(again.access_token).session_id == login.session.session_id


async def test_session_ends_with_its_days_however_often_used(
    shared_database: Database,
) -> None:
    """ASVS 7.3.2: an absolute end, which rotation does not move."""
    house = await session_house(shared_database, lifetime=timedelta(days=7))
    login = await house.login()
    assert login.session.expire_time == house.clock.now + timedelta(days=7)
    pair = login.tokens
    for _ in range(6):
        house.clock.advance(days=1)
        pair = await house.refresh(pair.refresh_token)
    assert pair.refresh_expire_time == login.session.expire_time
    late = [row for row in await house.kept_tokens() if row.expire_time > pair.refresh_expire_time]
    assert late == []
    house.clock.advance(days=1)
    assert await reason_of(house.refresh(pair.refresh_token)) == "CREDENTIAL_INVALID"
    (session,) = await house.kept_sessions()
    assert session.revoke_time is None


async def test_token_that_nobody_uses_ends_before_a_long_session(shared_database: Database) -> None:
    """ASVS 7.3.1: an end for want of use."""
    house = await session_house(shared_database, lifetime=timedelta(days=365))
    login = await house.login()
    assert login.tokens.refresh_expire_time == house.clock.now + timedelta(days=30)
    house.clock.advance(days=30)
    assert await reason_of(house.refresh(login.tokens.refresh_token)) == "CREDENTIAL_INVALID"


async def test_stolen_token_that_the_thief_uses_first(house: SessionHouse) -> None:
    """RFC 9700 4.14.2: the owner comes second; the thief's successor dies with the family."""
    login, other = await house.login(), await house.login()
    thief = await house.refresh(login.tokens.refresh_token)
    assert await reason_of(house.refresh(login.tokens.refresh_token)) == "REFRESH_TOKEN_REUSED"
    assert await reason_of(house.refresh(thief.refresh_token)) == "TOKEN_REVOKED"
    for pair in (thief, login.tokens):
        with pytest.raises(Unauthenticated, match="session has ended"):
            house.tokens.verify(pair.access_token)
    await house.refresh(other.tokens.refresh_token)
    assert house.events() == ["refresh_token_reused"]
    assert login.tokens.refresh_token not in str(house.log.calls)


async def test_stolen_token_that_the_thief_uses_later(house: SessionHouse) -> None:
    """RFC 9700 4.14.2: some generations on, the first token still gives the theft away."""
    login = await house.login()
    pair = await house.refresh(login.tokens.refresh_token, uuid4())
    for _ in range(3):
        house.clock.advance(minutes=10)
        pair = await house.refresh(pair.refresh_token, uuid4())
    assert await reason_of(house.refresh(login.tokens.refresh_token, uuid4())) == (
        "REFRESH_TOKEN_REUSED"
    )
    assert await reason_of(house.refresh(pair.refresh_token)) == "TOKEN_REVOKED"


async def test_lost_answer_is_given_anew_to_who_knows_the_request_id(house: SessionHouse) -> None:
    """RFC 9700 4.14.2; FAPI 2.0: rotation must not end a session whose answer was lost."""
    login, request_id = await house.login(), uuid4()
    first = await house.refresh(login.tokens.refresh_token, request_id)
    house.clock.advance(seconds=10)
    again = await house.refresh(login.tokens.refresh_token, request_id)
    assert again.refresh_token != first.refresh_token
    assert house.tokens.verify(again.access_token).session_id == login.session.session_id
    assert again.refresh_expire_time == login.session.expire_time
    assert house.events() == ["refresh_repeated"]
    assert house.log.calls[0].kwargs["repeats"] == 1
    assert str(request_id) not in str(house.log.calls)
    await house.refresh(again.refresh_token)


@pytest.mark.parametrize("same", [True, False], ids=["too late", "another id"])
async def test_repeat_too_late_or_with_another_id_is_a_theft(
    house: SessionHouse, same: bool
) -> None:
    """RFC 9700 4.14.2."""
    login, request_id = await house.login(), uuid4()
    pair = await house.refresh(login.tokens.refresh_token, request_id)
    house.clock.advance(seconds=10.001 if same else 0)
    repeat = house.refresh(login.tokens.refresh_token, request_id if same else uuid4())
    assert await reason_of(repeat) == "REFRESH_TOKEN_REUSED"
    assert await reason_of(house.refresh(pair.refresh_token)) == "TOKEN_REVOKED"


@pytest.mark.parametrize("first_with_id", [True, False])
async def test_repeat_of_which_one_has_no_id_is_a_theft(
    house: SessionHouse, first_with_id: bool
) -> None:
    """RFC 9700 4.14.2."""
    login, request_id = await house.login(), uuid4()
    await house.refresh(login.tokens.refresh_token, request_id if first_with_id else None)
    repeat = house.refresh(login.tokens.refresh_token, None if first_with_id else request_id)
    assert await reason_of(repeat) == "REFRESH_TOKEN_REUSED"


async def test_without_grace_every_repeat_is_a_theft(shared_database: Database) -> None:
    """RFC 9700 4.14.2."""
    house = await session_house(shared_database, grace=timedelta(0))
    login, request_id = await house.login(), uuid4()
    await house.refresh(login.tokens.refresh_token, request_id)
    repeat = house.refresh(login.tokens.refresh_token, request_id)
    assert await reason_of(repeat) == "REFRESH_TOKEN_REUSED"


@pytest.mark.parametrize("used", [0, 1])
async def test_of_two_answers_one_can_be_used(house: SessionHouse, used: int) -> None:
    """RFC 9700 4.14.2: a repeat leaves one live token per session, once it is used."""
    login, request_id = await house.login(), uuid4()
    pairs = [await house.refresh(login.tokens.refresh_token, request_id) for _ in range(2)]
    next_pair = await house.refresh(pairs[used].refresh_token, uuid4())
    reuse = house.refresh(pairs[1 - used].refresh_token, uuid4())
    assert await reason_of(reuse) == "REFRESH_TOKEN_REUSED"
    assert await reason_of(house.refresh(next_pair.refresh_token)) == "TOKEN_REVOKED"


async def test_repeat_after_an_answer_was_used_is_a_theft(house: SessionHouse) -> None:
    """RFC 9700 4.14.2: whoever used the successor had the answer."""
    login, request_id = await house.login(), uuid4()
    pair = await house.refresh(login.tokens.refresh_token, request_id)
    await house.refresh(pair.refresh_token)
    repeat = house.refresh(login.tokens.refresh_token, request_id)
    assert await reason_of(repeat) == "REFRESH_TOKEN_REUSED"


async def test_an_answer_is_given_anew_only_so_often(house: SessionHouse) -> None:
    """RFC 9700 4.14.2: repeats are bounded, and each gives a token of its own."""
    login, request_id = await house.login(), uuid4()
    token = login.tokens.refresh_token
    pairs = [await house.refresh(token, request_id) for _ in range(1 + MAX_REPEATS)]
    assert await reason_of(house.refresh(token, request_id)) == "CREDENTIAL_INVALID"
    assert len({pair.refresh_token for pair in pairs}) == 1 + MAX_REPEATS
    assert [call.kwargs["repeats"] for call in house.log.calls] == [1, 2, 3, 4]
    await house.refresh(pairs[-1].refresh_token)


async def test_repeat_after_a_logout_is_told_so(house: SessionHouse) -> None:
    """ASVS 7.4.1: a repeated refresh does not bring back a session that ended."""
    login, request_id = await house.login(), uuid4()
    await house.refresh(login.tokens.refresh_token, request_id)
    await house.logout(house.principal(login))
    repeat = house.refresh(login.tokens.refresh_token, request_id)
    assert await reason_of(repeat) == "TOKEN_REVOKED"


@pytest.mark.parametrize("state", ["suspended", "deleted"])
async def test_refresh_of_a_barred_user_is_refused(house: SessionHouse, state: str) -> None:
    """ASVS 7.4.2: also where only an answer is to be given anew."""
    login, request_id = await house.login(), uuid4()
    pair = await house.refresh(login.tokens.refresh_token, request_id)
    await house.set_state(house.ann, state)
    for attempt in (
        house.refresh(pair.refresh_token),
        house.refresh(login.tokens.refresh_token, request_id),
        house.sessions.current(house.principal(login)),
    ):
        assert await reason_of(attempt) == "CREDENTIAL_INVALID"


async def test_refresh_with_what_is_no_token_of_ours(house: SessionHouse) -> None:
    """ASVS 7.2.1: the server verifies each refresh token that it is shown."""
    await house.login()
    for token in ("", "rt_", "rt_" + "A" * 43, "x" * 512):
        assert await reason_of(house.refresh(token, uuid4())) == "CREDENTIAL_INVALID"


async def test_refresh_token_is_random_and_not_kept_in_the_clear(house: SessionHouse) -> None:
    """ASVS 7.2.3, 11.4.1: 256 random bits, kept as their SHA-256."""
    login = await house.login()
    token = login.tokens.refresh_token
    assert len(token) == len("rt_") + 43
    (row,) = await house.kept_tokens()
    assert len(row.token_hash) == 32
    assert bytes(row.token_hash) not in token.encode()
    for secret in (token, login.tokens.access_token):
        assert secret not in repr(login)


async def test_refresh_tells_in_the_audit_trail_whose_session_it_is(house: SessionHouse) -> None:
    """ASVS 16.3.1."""
    login = await house.login()
    await house.refresh(login.tokens.refresh_token)
    rows = await house.audited()
    assert [row.method for row in rows] == ["Login", "RefreshToken"]
    for row in rows:
        assert row.principal == f"users/{login.user.user_id}"
        assert row.target == row.credential == login.session.name
    await reason_of(house.refresh(login.tokens.refresh_token))
    assert len(await house.audited()) == 2  # what is refused is stored at the call's end


@pytest.mark.parametrize("round_", range(amount(2, 50)))
async def test_race_of_one_refresh_token_has_one_winner(house: SessionHouse, round_: int) -> None:
    """RFC 9700 4.14.2."""
    login = await house.login()
    outcomes = await asyncio.gather(
        *(house.refresh(login.tokens.refresh_token) for _ in range(40)), return_exceptions=True
    )
    kinds = Counter(type(outcome).__name__ for outcome in outcomes)
    assert kinds == {"TokenPair": 1, "Unauthenticated": 39}
    losers = {o.reason for o in outcomes if isinstance(o, Unauthenticated)}
    assert losers == {"REFRESH_TOKEN_REUSED"}
    assert len(await house.kept_tokens()) == 2
    (session,) = await house.kept_sessions()
    assert session.revoke_time == house.clock.now


@pytest.mark.parametrize("round_", range(amount(2, 50)))
async def test_race_of_one_repeated_call_keeps_the_family(house: SessionHouse, round_: int) -> None:
    """RFC 9700 4.14.2: as many answers as there may be, and then no more."""
    login, request_id = await house.login(), uuid4()
    token = login.tokens.refresh_token
    outcomes = await asyncio.gather(
        *(house.refresh(token, request_id) for _ in range(40)), return_exceptions=True
    )
    pairs = [outcome for outcome in outcomes if isinstance(outcome, TokenPair)]
    assert len(pairs) == 1 + MAX_REPEATS
    refused = Counter(o.reason for o in outcomes if isinstance(o, Unauthenticated))
    assert refused == {"CREDENTIAL_INVALID": 40 - len(pairs)}
    families = {house.tokens.verify(pair.access_token).session_id for pair in pairs}
    assert families == {login.session.session_id}
    assert len({pair.refresh_token for pair in pairs}) == len(pairs)
    (session,) = await house.kept_sessions()
    assert session.revoke_time is None


@pytest.mark.parametrize("round_", range(amount(2, 50)))
async def test_race_of_all_answers_of_one_call_has_one_winner(
    house: SessionHouse, round_: int
) -> None:
    """RFC 9700 4.14.2."""
    login, request_id = await house.login(), uuid4()
    token = login.tokens.refresh_token
    pairs = [await house.refresh(token, request_id) for _ in range(1 + MAX_REPEATS)]
    outcomes = await asyncio.gather(
        *(house.refresh(pair.refresh_token) for pair in pairs), return_exceptions=True
    )
    assert sum(isinstance(outcome, TokenPair) for outcome in outcomes) == 1
    losers = {o.reason for o in outcomes if isinstance(o, Unauthenticated)}
    assert losers == {"REFRESH_TOKEN_REUSED"}
    (session,) = await house.kept_sessions()
    assert session.revoke_time == house.clock.now


async def test_race_of_refresh_and_logout_leaves_nothing_alive(house: SessionHouse) -> None:
    """ASVS 7.4.1, 15.4.2: no token outlives a logout that it raced with."""
    for _ in range(5):
        login = await house.login()
        refreshed, _ = await asyncio.gather(
            house.refresh(login.tokens.refresh_token),
            house.logout(house.principal(login)),
            return_exceptions=True,
        )
        if isinstance(refreshed, BaseException):
            assert isinstance(refreshed, Unauthenticated)
            continue
        assert await reason_of(house.refresh(refreshed.refresh_token)) == "TOKEN_REVOKED"


async def test_refresh_that_meets_a_logout_on_its_way_is_refused(house: SessionHouse) -> None:
    """ASVS 7.4.1, 15.4.2: that the session lives is checked in the step that makes the token."""
    login = await house.login()
    async with house.database.write() as session:
        await session.execute(END_ALL)
        refresh = asyncio.create_task(house.refresh(login.tokens.refresh_token))
        # Time enough to see the session still alive and to wait for its row.
        await asyncio.sleep(0.2)
        assert not refresh.done()
    assert await reason_of(refresh) == "TOKEN_REVOKED"
    assert len(await house.kept_tokens()) == 1
