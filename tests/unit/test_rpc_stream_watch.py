"""Open streams whose credential ends: which of them are cut, when, and with what."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from server.auth.revocations import Changes, Revocations
from server.core.principal import FOREVER, Principal
from server.rpc.stream_watch import OpenStream, StreamWatch
from tests.support.auth import MovableClock
from tests.support.chat_driver import eventually

USER = uuid4()


class House:
    """A watch over streams of one user, and what ends them."""

    def __init__(self, **graces: float) -> None:
        self.clock = MovableClock()
        self.revocations = Revocations(clock=self.clock, lifetime=timedelta(minutes=15))
        spans = {name: timedelta(seconds=seconds) for name, seconds in graces.items()}
        self.watch = StreamWatch(self.revocations, clock=self.clock, **spans)
        self.cuts = 0

    def principal(self, end: datetime | None = None) -> Principal:
        """Return somebody who signed in just now, and has the roles of now."""
        now = self.clock()
        return Principal(
            USER,
            uuid4(),
            (),
            frozenset(),
            auth_time=now,
            expire_time=end or now + timedelta(minutes=15),
            issue_time=now,
            roles_time=now,
        )

    def open(self, principal: Principal, *, bounded: bool = True) -> Any:
        return self.watch.open(principal, self.cut, bounded=bounded)

    def cut(self) -> None:
        self.cuts += 1


def reason(stream: OpenStream) -> str:
    """Return with what it was cut; empty where it was not."""
    return stream.cut_error.reason if stream.cut_error else ""


async def test_a_session_s_end_cuts_its_streams_at_once_and_no_others() -> None:
    """ASVS 7.4.1."""
    house = House()
    mine = house.principal()
    with (
        house.open(mine) as first,
        house.open(mine) as second,
        house.open(house.principal()) as other,
    ):
        house.revocations.forget_session(mine.session_id)
        assert [reason(stream) for stream in (first, second, other)] == ["TOKEN_REVOKED"] * 2 + [""]
        assert house.cuts == 2


async def test_a_user_s_end_cuts_every_stream_of_the_user() -> None:
    """ASVS 7.4.2."""
    house = House()
    with house.open(house.principal()) as first, house.open(house.principal()) as second:
        house.revocations.forget_user(USER, house.clock(), active=False)
        assert (reason(first), reason(second)) == ("TOKEN_REVOKED", "TOKEN_REVOKED")


async def test_what_ended_before_the_stream_was_watched_cuts_it_as_well() -> None:
    house = House()
    mine = house.principal()
    house.revocations.forget_session(mine.session_id)
    with house.open(mine) as stream:
        assert (reason(stream), house.cuts) == ("TOKEN_REVOKED", 1)


async def test_other_roles_leave_a_stream_its_grace_once() -> None:
    house = House(outdated_grace=0.05)
    with house.open(house.principal()) as stream:
        house.clock.advance(seconds=10)
        for _ in range(3):  # one more change does not begin the time anew
            house.revocations.forget_user(USER, house.clock(), active=True)
            house.clock.advance(seconds=0.01)
        assert not stream.cut_error
        house.clock.advance(seconds=0.02)
        await eventually(lambda: house.cuts == 1)
        assert reason(stream) == "TOKEN_EXPIRED"


async def test_a_stream_without_a_deadline_ends_with_its_credential() -> None:
    house = House()
    end = house.clock() + timedelta(seconds=0.05)
    with (
        house.open(house.principal(end=end), bounded=False) as endless,
        house.open(house.principal(end=end)) as bounded,
    ):
        house.clock.advance(seconds=0.06)
        await eventually(lambda: house.cuts == 1)
        assert (reason(endless), reason(bounded)) == ("TOKEN_EXPIRED", "")


async def test_a_timer_that_rings_early_looks_at_the_clock_again() -> None:
    """The clock was set back; or it is so long that no timer is set for it."""
    house = House()
    end = house.clock() + timedelta(seconds=0.02)
    with house.open(house.principal(end=end), bounded=False) as stream:
        await asyncio.sleep(0.1)
        assert not stream.cut_error
        house.clock.advance(seconds=1)
        await eventually(lambda: house.cuts == 1)


async def test_a_credential_without_an_end_needs_no_timer() -> None:
    """An API key may go on for ever, which no clock can count."""
    house = House(outdated_grace=0.01)
    with house.open(house.principal(end=FOREVER), bounded=False) as stream:
        stream.end_politely()
        assert stream.ending.time == FOREVER
        house.revocations.forget_session(stream.principal.session_id)
        assert stream.ending.time == house.clock()


async def test_a_polite_stream_is_cut_only_when_it_does_not_end() -> None:
    house = House(polite_grace=0.05)
    mine = house.principal()
    with house.open(mine) as stream:
        stream.end_politely()
        house.revocations.forget_session(mine.session_id)
        assert stream.changed.is_set()
        assert stream.ending.error.reason == "TOKEN_REVOKED"
        assert house.cuts == 0
        house.clock.advance(seconds=0.06)
        await eventually(lambda: house.cuts == 1)
        assert reason(stream) == "TOKEN_REVOKED"


async def test_a_renewed_stream_follows_its_new_credential_alone() -> None:
    house = House()
    old, new = house.principal(), house.principal()
    with house.open(old, bounded=False) as stream:
        stream.end_politely()
        stream.renew(new)
        assert stream.ending.time == new.expire_time
        house.revocations.forget_session(old.session_id)
        assert stream.ending.time == new.expire_time
        house.revocations.forget_session(new.session_id)
        assert stream.ending.error.reason == "TOKEN_REVOKED"


async def test_a_renewal_ends_the_grace_of_other_roles() -> None:
    house = House()
    with house.open(house.principal(), bounded=False) as stream:
        stream.end_politely()
        house.clock.advance(seconds=10)
        house.revocations.forget_user(USER, house.clock(), active=True)
        assert stream.ending.time == house.clock() + timedelta(seconds=60)
        stream.renew(house.principal())
        assert stream.ending.time == house.clock() + timedelta(minutes=15)


async def test_no_stream_stays_known_behind_its_end() -> None:
    house = House(outdated_grace=0.01)
    mine = house.principal()
    with house.open(mine), house.open(mine) as renewed:
        renewed.renew(house.principal())
        assert house.watch.watched == 2
        house.clock.advance(seconds=1)
        house.revocations.note(Changes(missed=house.clock()))
    assert house.watch.watched == 0
    house.clock.advance(seconds=1)
    await asyncio.sleep(0.05)
    house.revocations.forget_session(mine.session_id)
    assert house.cuts == 0
