"""ChangePassword through a real server on both databases."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from tests.support.amount import amount
from tests.support.auth import MovableClock
from tests.support.running import PASSWORD, VIEWER, Running, running_server
from tests.support.signing_in import Door
from tests.support.statuses import check_call, refused

NEW = "three quiet otters juggle"


@pytest.fixture
async def door(shared: Running) -> Door:
    return await Door.of_somebody_new(shared)


async def test_the_new_password_counts_and_the_old_one_does_not(
    door: Door, movable: MovableClock
) -> None:
    """ASVS 6.2.2."""
    tokens = (await door.login()).tokens
    before = await door.kept()
    movable.advance(seconds=1)
    await door.change(tokens, NEW)
    assert (await refused(door.login())).reason == "LOGIN_FAILED"
    assert (await door.login(NEW)).user.email == door.email
    after = await door.kept()
    assert after.password_change_time > before.password_change_time
    assert after.update_time == after.password_change_time
    assert after.revision == before.revision + 1


async def test_other_sessions_end_and_ones_own_goes_on(door: Door) -> None:
    """ASVS 7.4.3."""
    own, other = (await door.login()).tokens, (await door.login()).tokens
    await door.change(own, NEW)
    await door.who_am_i(own)
    assert (await door.refresh(own)).tokens.access_token
    assert (await refused(door.who_am_i(other))).reason == "TOKEN_REVOKED"
    assert (await refused(door.refresh(other))).reason == "TOKEN_REVOKED"


async def test_other_sessions_go_on_where_that_is_wanted(door: Door) -> None:
    """ASVS 7.4.3: to end the other sessions is an option, which the user may decline."""
    own, other = (await door.login()).tokens, (await door.login()).tokens
    await door.change(own, NEW, keep=True)
    await door.who_am_i(other)
    assert (await door.refresh(other)).tokens.access_token


async def test_sessions_of_other_users_go_on(door: Door) -> None:
    """ASVS 7.4.3: the sessions that end are those of the user alone."""
    admin = (await door.login(email="admin@example.com")).tokens
    await door.change((await door.login()).tokens, NEW)
    await door.who_am_i(admin)


async def test_a_wrong_current_password_changes_nothing(door: Door, shared: Running) -> None:
    """ASVS 6.2.3."""
    own, other = (await door.login()).tokens, (await door.login()).tokens
    before = await door.kept()
    for wrong in (PASSWORD + "!", PASSWORD.upper(), "x" * 100_000):
        told = await check_call(shared, door.change(own, NEW, current=wrong), "LOGIN_FAILED")
        assert "current password" in told.message
    assert await door.kept() == before
    await door.who_am_i(other)


@pytest.mark.parametrize(
    ("new", "rule"),
    [
        ("fourteen chars", "too_short"),
        ("x" * 257, "too_long"),
        ("🎬" * 257, "too_long"),
        (" " * 20, "blank"),
        ("three quiet\0otters juggle", "not_text"),
        ("passwordpassword", "common"),
        ("Interview Films!", "common"),
        (PASSWORD, "same"),
    ],
)
async def test_a_new_password_against_the_policy_is_refused(
    door: Door, shared: Running, new: str, rule: str
) -> None:
    """ASVS 6.2.1, 6.2.4, 6.2.11."""
    tokens = (await door.login()).tokens
    before = await door.kept()
    told = await check_call(shared, door.change(tokens, new), "PASSWORD_POLICY")
    assert told.metadata == {"rule": rule}
    assert told.bad_fields == ["new_password"]
    assert new.strip() == "" or new not in told.message
    assert await door.kept() == before


async def test_ones_own_address_is_no_password(door: Door) -> None:
    """ASVS 6.2.11."""
    tokens = (await door.login()).tokens
    told = await refused(door.change(tokens, door.email.upper()))
    assert told.metadata == {"rule": "common"}


async def test_who_has_no_credential_or_leaves_fields_empty_is_refused(door: Door) -> None:
    """ASVS 6.2.3, 7.2.1: a change needs both passwords and a valid token."""
    tokens = (await door.login()).tokens
    told = await refused(door.change(tokens, "", current=""))
    assert told.reason == "VALIDATION_FAILED"
    assert told.bad_fields == ["current_password", "new_password"]
    tokens.access_token = "nobody's"
    assert (await refused(door.change(tokens, NEW))).reason == "CREDENTIAL_INVALID"


async def test_a_user_who_was_barred_meanwhile_changes_nothing(door: Door) -> None:
    """ASVS 7.4.2: the token of a suspended user changes no password."""
    tokens = (await door.login()).tokens
    await door.set_fields(state="suspended")
    before = await door.kept()
    assert (await refused(door.change(tokens, NEW))).reason == "CREDENTIAL_INVALID"
    assert await door.kept() == before


async def test_change_and_refusals_are_in_the_audit_trail_without_passwords(
    door: Door, shared: Running
) -> None:
    """ASVS 16.3.1."""
    login = await door.login()
    await refused(door.change(login.tokens, NEW, current="a wrong one"))
    await door.change(login.tokens, NEW)
    failed, done = (await door.audited("ChangePassword"))[-2:]
    assert (failed.outcome, done.outcome) == ("LOGIN_FAILED", "OK")
    for record in (failed, done):
        assert record.principal == login.user.name
        assert record.credential == login.login_session
    assert done.target == login.user.name
    text = repr([failed, done, shared.lines])
    assert not [word for word in (NEW, PASSWORD, "a wrong one") if word in text]


async def test_a_sign_in_is_in_the_audit_trail_with_who_and_which_session(door: Door) -> None:
    """ASVS 16.3.1."""
    login = await door.login()
    await refused(door.login("a wrong one"))
    done, failed = (await door.audited("Login"))[-2:]
    assert (done.outcome, done.principal, done.target) == (
        "OK",
        login.user.name,
        login.login_session,
    )
    assert (failed.outcome, failed.principal) == ("LOGIN_FAILED", "")


async def test_one_of_many_changes_at_once_wins(door: Door) -> None:
    """ASVS 15.4.2: each was made knowing a password that only the first still finds."""
    tokens = (await door.login()).tokens
    first = (await door.kept()).password_hash
    news = [f"{word} quiet otters juggle" for word in ("four", "five", "seven", "eight", "nine")]
    for _ in range(amount(1, 20)):
        await door.set_fields(password_hash=first)
        outcomes = await asyncio.gather(
            *(door.change(tokens, new) for new in news), return_exceptions=True
        )
        won = [new for new, out in zip(news, outcomes, strict=True) if not _failed(out)]
        assert len(won) == 1, outcomes
        await door.login(won[0])


async def test_no_session_of_the_old_password_outlives_the_change(door: Door) -> None:
    """ASVS 7.4.3, while sign-ins with it are under way."""
    own = (await door.login()).tokens
    first = (await door.kept()).password_hash
    ended = 0
    for _ in range(amount(1, 20)):
        await door.set_fields(password_hash=first)
        *logins, changed = await asyncio.gather(
            *(door.login() for _ in range(6)), door.change(own, NEW), return_exceptions=True
        )
        assert not _failed(changed), changed
        for login in logins:
            if not isinstance(login, BaseException):
                assert (await refused(door.who_am_i(login.tokens))).reason == "TOKEN_REVOKED"
                ended += 1
        await door.who_am_i(own)
    assert ended, "none was under way"


def _failed(outcome: object) -> bool:
    return isinstance(outcome, grpc.aio.AioRpcError)


@pytest.fixture
async def guarded(sample_database_url: str, tmp_path: Path) -> AsyncIterator[Door]:
    """A server that lets nobody guess often."""
    async with running_server(sample_database_url, tmp_path, login_failures=2) as running:
        yield Door(running, VIEWER)


async def test_wrong_current_passwords_are_counted_as_at_the_sign_in(guarded: Door) -> None:
    """ASVS 6.3.1: a stolen token is no place to guess."""
    tokens = (await guarded.login()).tokens
    reasons = [
        (await refused(guarded.change(tokens, NEW, current=f"wrong {number}"))).reason
        for number in range(3)
    ]
    assert reasons == ["LOGIN_FAILED", "LOGIN_FAILED", "LOGIN_THROTTLED"]
    assert (await refused(guarded.change(tokens, NEW))).reason == "LOGIN_THROTTLED"
    assert (await refused(guarded.login())).reason == "LOGIN_THROTTLED"


async def test_a_right_current_password_is_no_failure_whatever_the_new_one_is(
    guarded: Door,
) -> None:
    """ASVS 6.3.1: who knows the password is not throttled for a new one that is refused."""
    tokens = (await guarded.login()).tokens
    for _ in range(4):
        assert (await refused(guarded.change(tokens, "short"))).reason == "PASSWORD_POLICY"
    await guarded.change(tokens, NEW)
