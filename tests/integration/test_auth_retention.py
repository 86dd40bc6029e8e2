"""What is deleted when it has been kept long enough, and what is not, on both databases."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import structlog
from sqlalchemy import insert, text, update
from structlog.testing import CapturingLogger

from server.auth.domain import DELETED
from server.auth.models import ApiKey, AppUser, LoginAttempts
from server.auth.retention_repository import AFTER_END, OldRows
from server.auth_parts import kept_of
from server.core.idempotency import RETENTION
from server.core.retention import Delete, Kept, Retention
from server.database.engine import Database
from server.database.idempotency import IdempotentCall
from tests.support.auth import MovableClock, attempts_without_limit
from tests.support.login_sessions import SessionHouse, session_house
from tests.support.running import Running

TABLES = (
    "app_user",
    "app_user_role",
    "login_session",
    "refresh_token",
    "api_key",
    "login_attempts",
    "idempotent_call",
    "audit_event",
)


@pytest.fixture
async def house(database: Database) -> SessionHouse:
    return await session_house(database)


class Times:
    """Notes for how long somebody would have slept, and gives way."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


def retention(
    kept: Sequence[Kept], clock: MovableClock, *, batch: int = 2
) -> tuple[Retention, Times, CapturingLogger]:
    """Return what deletes, with an interval of an hour from the half on."""
    log, times = CapturingLogger(), Times()
    made = Retention(
        kept,
        clock=clock,
        log=structlog.wrap_logger(log, processors=[]),
        chance=lambda: 0.5,
        batch=batch,
        sleep=times,
    )
    return made, times, log


def of(house: SessionHouse) -> Sequence[Kept]:
    """Return what the server deletes."""
    attempts = attempts_without_limit(house.database, house.clock)
    return kept_of(OldRows(house.database), attempts)


async def counts(house: SessionHouse) -> dict[str, int]:
    """Return how many rows each table has."""
    return {table: await house.count(table) for table in TABLES}


async def write(house: SessionHouse, statement: Any, rows: Any = None) -> None:
    async with house.database.write() as session:
        await session.execute(statement, rows)


async def test_ended_sessions_and_their_tokens_go_thirty_days_later(house: SessionHouse) -> None:
    """ASVS 14.2.4: what is not needed any more is not kept."""
    revoked, expired = await house.login(), await house.login()
    pair = revoked.tokens
    for _ in range(5):
        pair = await house.refresh(pair.refresh_token)
    await house.logout(house.principal(revoked))
    made, times, log = retention(of(house), house.clock)
    house.clock.advance(days=30, seconds=-1)
    alive = await house.login()
    await made.round()
    assert (await house.count("login_session"), await house.count("refresh_token")) == (3, 8)
    assert log.calls == []
    house.clock.advance(seconds=1)
    await made.round()
    assert log.calls[0].kwargs == {
        "event": "old rows deleted",
        "revoked_refresh_tokens": 6,
        "login_sessions": 1,
    }
    assert len(times.slept) == 3, "a pause after each full batch"
    house.clock.advance(days=30)
    await made.round()
    assert log.calls[1].kwargs == {
        "event": "old rows deleted",
        "expired_refresh_tokens": 1,
        "login_sessions": 1,
    }
    left = await house.database.read.all(text("SELECT create_time FROM login_session"))
    assert len(left) == 1
    assert expired.session.create_time < alive.session.create_time


async def test_used_tokens_of_a_living_session_stay(house: SessionHouse) -> None:
    """RFC 9700 4.14.2: a stolen token must be known as used while its family lives."""
    login = await house.login()
    for _ in range(29):
        house.clock.advance(days=1)
        await house.refresh((await house.login()).tokens.refresh_token)
    made, _, _ = retention(of(house), house.clock)
    await made.round()
    assert await house.count("refresh_token") == 1 + 29 * 2
    assert login.session.expire_time > house.clock.now


async def test_attempts_and_answers_go_at_their_end(house: SessionHouse) -> None:
    now = house.clock()
    for hours in (0, 1):
        moment = now + timedelta(hours=hours)
        for number in range(3):
            attempt = {
                "subject": bytes([hours, number] * 16),
                "failures": 1,
                "next_time": moment,
                "expire_time": moment,
            }
            await write(house, insert(LoginAttempts), attempt)
            call = {
                "user_id": house.ann.user.user_id,
                "method": "m",
                "request_id": uuid4(),
                "request_hash": b"h" * 32,
                "answer": b"",
                "create_time": moment - RETENTION,
            }
            await write(house, insert(IdempotentCall), call)
    made, _, log = retention(of(house), house.clock)
    await made.round()
    assert log.calls[0].kwargs == {
        "event": "old rows deleted",
        "login_attempts": 3,
        "idempotent_calls": 3,
    }
    assert await house.count("login_attempts") == await house.count("idempotent_call") == 3


async def test_purge_takes_all_of_a_user_but_the_audit_trail(house: SessionHouse) -> None:
    """ASVS 14.2.4, 7.4.2."""
    now = house.clock()
    due = [await house.add_user("viewer") for _ in range(23)]
    later = await house.add_user("viewer")
    back = await house.add_user("viewer")
    for account in (*due[:3], later, back):
        await house.refresh((await house.login(account)).tokens.refresh_token)
        key = {
            "key_id": uuid4(),
            "user_id": account.user.user_id,
            "display_name": "job",
            "secret_hash": account.user.user_id.bytes * 2,
            "hint": "ik_",
            "create_time": now,
        }
        await write(house, insert(ApiKey), key)
    for account, state, purge_time in (
        *((account, DELETED, now) for account in due),
        (later, DELETED, now + timedelta(seconds=1)),
        (back, "active", now),
    ):
        await write(
            house,
            update(AppUser)
            .where(AppUser.user_id == account.user.user_id)
            .values(state=state, purge_time=purge_time),
        )
    before = await counts(house)
    made, _, log = retention(of(house), house.clock, batch=500)
    await made.round()
    assert log.calls[0].kwargs == {"event": "old rows deleted", "users": 23}
    gone = {"app_user": 23, "app_user_role": 23, "login_session": 3, "refresh_token": 6}
    after = {table: before[table] - number for table, number in {**gone, "api_key": 3}.items()}
    assert await counts(house) == {**before, **after}
    assert before["audit_event"] == 10


async def test_processes_that_delete_at_once_delete_each_row_once(house: SessionHouse) -> None:
    """ASVS 15.4.2: processes that delete at once do not get in the way of each other."""
    for _ in range(30):
        await house.logout(house.principal(await house.login()))
    house.clock.advance(days=30)
    made = [retention(of(house), house.clock, batch=4) for _ in range(4)]
    await asyncio.gather(*(one.round() for one, _, _ in made))
    lines = [call.kwargs for _, _, log in made for call in log.calls]
    assert sum(line.get("revoked_refresh_tokens", 0) for line in lines) == 30
    assert sum(line.get("login_sessions", 0) for line in lines) <= 30
    assert {line["event"] for line in lines} == {"old rows deleted"}
    await made[0][0].round()
    assert await house.count("login_session") == await house.count("refresh_token") == 0


async def test_a_server_deletes_beside_its_calls(embedded: Running) -> None:
    running = {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()}
    assert Retention.run.__qualname__ in running
    assert embedded.app.running_calls == 0


def _counted(rows: list[int], name: str) -> Kept:
    async def delete(_end: object, limit: int) -> int:
        deleted = min(limit, rows[0])
        rows[0] -= deleted
        return deleted

    return Kept(name, AFTER_END, delete)


def _failing() -> Delete:
    async def delete(_end: object, _limit: int) -> int:
        raise ConnectionError("no database at postgres://secret")

    return delete


async def test_round_that_fails_is_one_warning_and_not_the_end() -> None:
    """ASVS 16.2.5: a failure is logged by its kind, not by a message with secrets."""
    kept = [Kept("first", AFTER_END, _failing()), _counted([3], "second")]
    made, times, log = retention(kept, MovableClock(), batch=10)
    task = asyncio.create_task(made.run())
    while len(times.slept) < 4:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert times.slept[:4] == [1800, 3600, 3600, 3600]
    lines = [(call.method_name, call.kwargs) for call in log.calls[:3]]
    assert lines == [
        ("info", {"event": "old rows deleted", "second": 3}),
        ("warning", {"event": "old rows not deleted", "first": "ConnectionError"}),
        ("warning", {"event": "old rows not deleted", "first": "ConnectionError"}),
    ]
