"""What no longer counts before its time: what is refused, for how long, and to whom it is told."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from server.auth.key_ring import ring_of
from server.auth.keys import signing_key_from_secret
from server.auth.revocations import (
    OVERLAP,
    Changes,
    RevocationPoll,
    Revocations,
    SessionEnd,
    UserChange,
)
from server.auth.token_form import LEEWAY
from server.auth.tokens import AccessTokens
from server.core.errors import Unauthenticated
from server.core.principal import Principal
from tests.support.auth import MovableClock, forge
from tests.support.running import capturing_log

KEY = signing_key_from_secret(b"a secret of thirty-two bytes....")
LIFETIME = timedelta(minutes=15)
USER, SESSION = uuid4(), uuid4()


class House:
    """Tokens and what is known of their end."""

    def __init__(self, **options: Any) -> None:
        self.clock = MovableClock()
        self.revocations = Revocations(clock=self.clock, lifetime=LIFETIME + LEEWAY, **options)
        self.tokens = AccessTokens(
            ring_of(KEY, self.clock()),
            issuer="interview",
            audience="interview-api",
            clock=self.clock,
            lifetime=LIFETIME,
            revocations=self.revocations,
        )

    def token(self, session: UUID = SESSION, roles_change_time: datetime | None = None) -> str:
        now = self.clock()
        issue = self.tokens.issue
        return issue(USER, session, ("viewer",), now, roles_change_time=roles_change_time)[0]

    def refusal(self, token: str) -> tuple[str, str]:
        """Return why it is refused, and the time that is told; empty where it is not."""
        try:
            self.tokens.verify(token)
        except Unauthenticated as error:
            return error.reason, next(iter(error.metadata.values()), "")
        return "", ""


@pytest.fixture
def house() -> House:
    return House()


def test_the_end_of_a_session_is_the_end_of_its_tokens_and_of_no_others(house: House) -> None:
    """ASVS 7.4.1: also of a token that was verified before."""
    mine, other = house.token(), house.token(uuid4())
    house.tokens.verify(mine)
    house.revocations.note(Changes(sessions=[SessionEnd(SESSION, house.clock())]))
    house.clock.advance(minutes=1)
    assert house.refusal(mine) == ("TOKEN_REVOKED", "2026-03-01T12:00:00Z")
    assert house.refusal(other) == ("", "")


@pytest.mark.parametrize("offset", [-0.001, 0.001, 59])
def test_a_user_who_is_barred_has_no_good_token(house: House, offset: float) -> None:
    """ASVS 7.4.2: also of one whose issuer's clock was ahead."""
    token = house.token()
    house.tokens.verify(token)
    house.clock.advance(seconds=60)
    change_time = house.clock() - timedelta(seconds=offset)
    house.revocations.forget_user(USER, change_time, active=False)
    assert house.refusal(token)[0] == "TOKEN_REVOKED"


def test_a_user_who_is_let_in_again_refreshes(house: House) -> None:
    """ASVS 7.4.2: tokens from before the bar do not come back to life."""
    old = house.token()
    house.clock.advance(seconds=5)
    house.revocations.forget_user(USER, house.clock(), active=False)
    house.clock.advance(seconds=5)
    back = house.clock()
    house.revocations.forget_user(USER, back, active=True)
    assert house.refusal(old)[0] == "TOKEN_EXPIRED"
    assert house.refusal(house.token(roles_change_time=back)) == ("", "")


def test_a_user_who_was_let_in_again_elsewhere_need_not_wait_for_the_news(house: House) -> None:
    """ASVS 7.4.2, 8.3.2: a token that knows of the newer change counts at once."""
    barred = house.clock()
    house.revocations.forget_user(USER, barred, active=False)
    house.clock.advance(seconds=1)
    assert house.refusal(house.token(roles_change_time=barred))[0] == "TOKEN_REVOKED"
    assert house.refusal(house.token(roles_change_time=house.clock())) == ("", "")


def test_an_older_change_does_not_undo_a_newer_one(house: House) -> None:
    """ASVS 7.4.2: the look goes back behind what is known, and finds it again."""
    now = house.clock()
    token = house.token()
    house.revocations.forget_user(USER, now + timedelta(seconds=2), active=False)
    house.revocations.forget_user(USER, now + timedelta(seconds=1), active=True)
    assert house.refusal(token)[0] == "TOKEN_REVOKED"


def test_roles_that_change_twice_within_a_second(house: House) -> None:
    """ASVS 8.3.2: tokens tell whole seconds; which change they know of, microseconds."""
    first = house.clock() + timedelta(seconds=0.2)
    second = first + timedelta(microseconds=1)
    house.clock.advance(seconds=0.4)
    of_none, of_first, of_second = (
        house.token(roles_change_time=time) for time in (None, first, second)
    )
    house.revocations.forget_user(USER, first, active=True)
    assert house.refusal(of_none) == ("TOKEN_EXPIRED", "2026-03-01T12:00:00Z")
    assert house.refusal(of_first) == ("", "")
    house.revocations.forget_user(USER, second, active=True)
    assert house.refusal(of_none)[0] == house.refusal(of_first)[0] == "TOKEN_EXPIRED"
    assert house.refusal(of_second) == ("", "")


@pytest.mark.parametrize("roles_time", [-1, 1.5, True, "1", None, 10**30])
def test_a_token_that_tells_no_time_of_its_roles(house: House, roles_time: Any) -> None:
    """RFC 8725, 3.10: it is refused, whoever signed it."""
    header, payload, _ = house.token(roles_change_time=house.clock()).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    fields = json.loads(base64.urlsafe_b64decode(header + "=="))
    assert house.refusal(forge(KEY, fields, claims)) == ("", "")
    changed = forge(KEY, fields, claims | {"roles_time": roles_time})
    assert house.refusal(changed) == ("CREDENTIAL_INVALID", "")


@pytest.mark.parametrize("ahead", [-29, 0.4, 29])
def test_roles_changed_by_a_replica_whose_clock_differs(house: House, ahead: float) -> None:
    """ASVS 8.3.2: rights from before the change do not count, whatever the clocks say."""
    before = house.token()
    change_time = house.clock() + timedelta(seconds=ahead)
    house.revocations.forget_user(USER, change_time, active=True)
    assert house.refusal(before)[0] == "TOKEN_EXPIRED"
    assert house.refusal(house.token(roles_change_time=change_time)) == ("", "")


def test_it_is_forgotten_when_its_last_token_is_dead(house: House) -> None:
    """ASVS 7.4.1: and not a moment before."""
    house.revocations.forget_session(SESSION)
    house.revocations.forget_user(USER, house.clock(), active=True)
    house.clock.advance(minutes=15, seconds=30)
    house.revocations.note(Changes())
    assert house.revocations.remembered == 2
    house.clock.advance(microseconds=1)
    house.revocations.note(Changes())
    assert house.revocations.remembered == 0


def test_memory_is_bounded_and_forgets_in_nobody_s_favour() -> None:
    """ASVS 7.4.1: beyond what fits, old tokens are refreshed; an ended session's cannot be."""
    house = House(max_entries=100)
    ended, good = house.token(), house.token(uuid4())
    house.revocations.forget_session(SESSION)
    for _ in range(1000):
        house.clock.advance(seconds=0.01)
        house.revocations.forget_session(uuid4())
        house.revocations.forget_user(uuid4(), house.clock(), active=True)
        assert house.revocations.remembered <= 200
    assert house.refusal(ended)[0] == "TOKEN_EXPIRED"
    assert house.refusal(good)[0] == "TOKEN_EXPIRED"
    house.clock.advance(seconds=1)
    assert house.refusal(house.token(uuid4())) == ("", "")


def test_more_than_one_look_tells_is_not_let_through_either(house: House) -> None:
    """ASVS 7.4.1, 8.3.2: what was missed may be of any token of before."""
    token = house.token()
    house.clock.advance(seconds=5)
    house.revocations.note(Changes(missed=house.clock()))
    assert house.refusal(token)[0] == "TOKEN_EXPIRED"
    house.clock.advance(seconds=1)
    assert house.refusal(house.token()) == ("", "")


def test_news_is_told_once(house: House) -> None:
    heard: list[UUID | None] = []
    house.revocations.listen(heard.append)
    now = house.clock()
    changes = Changes([SessionEnd(SESSION, now)], [UserChange(USER, now)])
    house.revocations.note(changes)
    house.revocations.note(changes)
    assert heard == [SESSION, USER]
    house.revocations.note(Changes(missed=now))
    house.revocations.note(Changes(missed=now))
    assert heard == [SESSION, USER, None]


class Asked:
    """A source that fails when it is told to, and notes from when on it was asked."""

    def __init__(self) -> None:
        self.moments: list[datetime] = []
        self.fails = False

    async def since(self, moment: datetime) -> Changes:
        """Return nothing."""
        self.moments.append(moment)
        if self.fails:
            raise ConnectionError
        return Changes()


async def looks(poll: RevocationPoll, times: int) -> Sequence[type[Exception]]:
    found = []
    for _ in range(times):
        try:
            await poll.look()
        except ConnectionError as error:
            found.append(type(error))
    return found


async def test_each_look_overlaps_the_last_one_that_succeeded(house: House) -> None:
    """ASVS 7.4.1: changes come late, by clocks that differ: none may fall between two looks."""
    source, clock, log = Asked(), house.clock, capturing_log()[0]
    start, interval = clock(), timedelta(seconds=5)
    poll = RevocationPoll(
        source, house.revocations, clock=clock, interval=interval, lookback=LIFETIME, log=log
    )
    await poll.look()
    assert source.moments == [start - LIFETIME - OVERLAP]
    clock.advance(seconds=5)
    await poll.look()
    assert source.moments[-1] == start - OVERLAP
    source.fails = True
    clock.advance(minutes=10)
    assert await looks(poll, 2) == [ConnectionError] * 2
    source.fails = False
    await poll.look()
    assert source.moments[-3:] == [start + timedelta(seconds=5) - OVERLAP] * 3
    clock.advance(minutes=-30)  # a clock that was set back
    await poll.look()
    assert source.moments[-1] == clock() - OVERLAP


def test_who_is_asked_about_need_not_have_an_access_token(house: House) -> None:
    """ASVS 7.4.1: a key is known by its id, and by the time at which its roles were read."""
    now = house.clock()
    key = Principal(USER, SESSION, (), frozenset(), now, now, issue_time=now)
    assert house.revocations.over(key) is None
    assert house.revocations.outdated(key) is None
    house.revocations.forget_session(SESSION)
    error = house.revocations.over(key)
    assert error is not None
    assert error.reason == "TOKEN_REVOKED"
