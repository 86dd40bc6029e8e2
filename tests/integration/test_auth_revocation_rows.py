"""What a process learns from the database of what ended elsewhere, and what it costs to ask."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from time import perf_counter
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.engine import make_url

from server.auth import revocation_statements
from server.auth.models import ApiKey, AppUser, LoginSession
from server.auth.revocation_repository import RevocationRows
from server.auth.revocations import RevocationPoll, Revocations, SessionEnd, UserChange
from server.core.clock import utc_now
from server.database.engine import Database, DatabaseOptions
from tests.support.chat_driver import eventually
from tests.support.databases import postgres_copy
from tests.support.proxy import Proxy, running_proxy
from tests.support.running import capturing_log

USERS, SESSIONS = 500, 5_000
INDEXES = (
    "idx_login_session_revoke_time",
    "idx_api_key_delete_time",
    "idx_app_user_roles_change_time",
)


async def fill(database: Database, users: int = USERS, sessions: int = SESSIONS) -> list[UUID]:
    """Store users and their sessions, all of them alive; return the sessions' ids."""
    now = utc_now()
    user_ids = [uuid4() for _ in range(users)]
    session_ids = [uuid4() for _ in range(sessions)]
    times = {"create_time": now, "update_time": now, "password_change_time": now}
    async with database.write() as write:
        await write.execute(
            insert(AppUser),
            [
                {"user_id": user_id, "email": f"{user_id}@x.test", "password_hash": "", **times}
                for user_id in user_ids
            ],
        )
        await write.execute(
            insert(LoginSession),
            [
                {
                    "session_id": session_id,
                    "user_id": user_ids[number % users],
                    "create_time": now,
                    "expire_time": now + timedelta(days=30),
                }
                for number, session_id in enumerate(session_ids)
            ],
        )
    await add_keys(database, user_ids[0], {uuid4(): None for _ in range(users)})
    async with database.write() as write:
        await write.execute(text("ANALYZE"))
    return session_ids


async def add_keys(
    database: Database, user_id: UUID, delete_times: Mapping[UUID, datetime | None]
) -> None:
    """Store API keys of a user, deleted or not."""
    async with database.write() as write:
        await write.execute(
            insert(ApiKey),
            [
                {
                    "key_id": key_id,
                    "user_id": user_id,
                    "display_name": "batch job",
                    "secret_hash": key_id.bytes * 2,
                    "hint": "",
                    "create_time": utc_now(),
                    "delete_time": delete_time,
                }
                for key_id, delete_time in delete_times.items()
            ],
        )


async def end(database: Database, session_id: UUID, moment: datetime) -> None:
    """End a session as any process does."""
    async with database.write() as write:
        ended = update(LoginSession).where(LoginSession.session_id == session_id)
        await write.execute(ended.values(revoke_time=moment))


class Poll:
    """A poll over a database, what it fills, and its log."""

    def __init__(self, database: Database, interval: float = 5.0) -> None:
        log, self._lines = capturing_log()
        self.revocations = Revocations(clock=utc_now, lifetime=timedelta(minutes=15))
        self.poll = RevocationPoll(
            RevocationRows(database),
            self.revocations,
            clock=utc_now,
            interval=timedelta(seconds=interval),
            lookback=timedelta(minutes=15),
            log=log,
        )

    @property
    def events(self) -> list[str]:
        """The names of what was logged."""
        return [line.kwargs["event"] for line in self._lines]


async def test_what_changed_since(database: Database) -> None:
    """ASVS 7.4.1, 7.4.2: sessions that ended, deleted keys and barred users are found."""
    now = utc_now().replace(microsecond=123456)
    ended, older, _ = await fill(database, users=1, sessions=3)
    await end(database, ended, now)
    await end(database, older, now - timedelta(seconds=10))
    active, barred = uuid4(), uuid4()
    times = {"create_time": now, "update_time": now, "password_change_time": now}
    async with database.write() as write:
        for user_id, state in ((active, "active"), (barred, "suspended")):
            values = {"user_id": user_id, "email": str(user_id), "password_hash": "", **times}
            row = insert(AppUser).values(**values, state=state, roles_change_time=now)
            await write.execute(row)
    key = uuid4()
    await add_keys(database, active, {uuid4(): None, key: now})
    rows = RevocationRows(database)
    found = await rows.since(now)
    assert set(found.sessions) == {SessionEnd(ended, now), SessionEnd(key, now)}
    assert set(found.users) == {UserChange(active, now), UserChange(barred, now, active=False)}
    assert found.missed is None
    assert {end.session_id for end in (await rows.since(now - timedelta(minutes=1))).sessions} == {
        ended,
        older,
        key,
    }
    assert not (await rows.since(now + timedelta(microseconds=1))).sessions


async def test_very_much_at_once_is_told_as_what_was_missed(database: Database) -> None:
    """An operator who ends every session must not fill each process's memory with them."""
    now = utc_now()
    most = revocation_statements.MAX_ROWS
    await fill(database, users=10, sessions=most + 5)
    async with database.write() as write:
        await write.execute(update(LoginSession).values(revoke_time=now))
    found = await RevocationRows(database).since(now - timedelta(minutes=1))
    assert (len(found.sessions), found.missed) == (most, now)


async def test_a_look_is_one_statement_on_three_indexes(database: Database) -> None:
    """Its cost follows what changed of late, not how many sessions and users there are."""
    session_ids = await fill(database)
    now = utc_now()
    await end(database, session_ids[0], now)
    statement = revocation_statements.CHANGED_SINCE
    literal = statement.params(since=now - timedelta(minutes=1)).compile(
        dialect=database.url.get_dialect()(), compile_kwargs={"literal_binds": True}
    )
    explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    async with database.write() as write:
        plan = "\n".join(str(tuple(row)) for row in await write.all(text(f"{explain} {literal}")))
    for index in INDEXES:
        assert index in plan, plan
    assert "Seq Scan" not in plan
    assert "SCAN login_session" not in plan
    assert "SCAN app_user" not in plan
    assert "SCAN api_key" not in plan
    rows = RevocationRows(database)
    started = perf_counter()
    for _ in range(20):
        found = await rows.since(now - timedelta(minutes=1))
        assert len(found.sessions) == 1
    assert (perf_counter() - started) / 20 < 0.1  # about 1 ms on a busy machine


async def test_an_end_that_is_committed_late_is_found(database: Database) -> None:
    """ASVS 7.4.1: its time is that of its transaction's begin, by the clock of another replica."""
    first, second = await fill(database, users=1, sessions=2)
    known = Poll(database)
    await end(database, first, utc_now())
    await known.poll.look()
    assert known.revocations.remembered == 1
    await end(database, second, utc_now() - timedelta(seconds=45))
    await known.poll.look()
    await known.poll.look()
    assert known.revocations.remembered == 2


async def test_a_process_that_starts_learns_what_ended_while_a_token_can_live(
    database: Database,
) -> None:
    """ASVS 7.4.1: a restart does not forget the sessions whose tokens are still valid."""
    young, old = await fill(database, users=1, sessions=2)
    await end(database, young, utc_now() - timedelta(minutes=14))
    await end(database, old, utc_now() - timedelta(minutes=20))
    known = Poll(database)
    await known.poll.look()
    assert known.revocations.remembered == 1


@pytest.fixture
async def parted(
    postgres_server: str, postgres_templates: dict[str, str]
) -> AsyncIterator[tuple[Database, Database, Proxy]]:
    """A PostgreSQL, and the same one behind a network that can fail and is soon given up."""
    copy = postgres_copy(postgres_server, postgres_templates["migrated"])
    async with copy as url, running_proxy(make_url(url).port or 5432) as proxy:
        soon = timedelta(milliseconds=200)
        options = DatabaseOptions(connect_timeout=soon, command_timeout=soon, pool_timeout=soon)
        direct = Database(url)
        through = Database(make_url(url).set(port=proxy.port), options)
        yield direct, through, proxy
        await through.close()
        await direct.close()


async def test_the_poll_outlives_an_outage_and_misses_nothing(
    parted: tuple[Database, Database, Proxy],
) -> None:
    """ASVS 7.4.1: a session that ended during an outage is known as ended after it."""
    direct, through, proxy = parted
    before, during = await fill(direct, users=1, sessions=2)
    known = Poll(through, interval=0.05)
    running = asyncio.create_task(known.poll.run())
    await end(direct, before, utc_now())
    await eventually(lambda: known.revocations.remembered == 1)
    proxy.part()
    await eventually(lambda: known.events == ["revocations unknown"])
    await end(direct, during, utc_now())
    await asyncio.sleep(0.5)
    assert known.events == ["revocations unknown"], "an outage is one line, however long"
    assert not running.done()
    proxy.reset()
    proxy.heal()
    await eventually(lambda: known.revocations.remembered == 2)
    assert known.events == ["revocations unknown", "revocations known"]
    running.cancel()
    await asyncio.wait({running})
