"""kill -9 in the midst of writes: nothing acknowledged is lost, nothing happens twice."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest
from interview_client import TERMINAL, InterviewClient, InterviewError, kind_of
from interview_client.messages import ChatResponse

from tests.support.amount import amount
from tests.support.fake_openai import FakeOpenAI, answer, running_fake_openai
from tests.support.history import History, Outcome
from tests.support.postgres import PostgresServer, own_postgres
from tests.support.replicas import Replica, replicas
from tests.support.sign_ins import Kept, SignIns, check_sessions
from tests.support.talker import Talker, Turn

KILLS = amount(2, 12)
SIGNERS, TALKERS = 3, 3
OPERATIONS = 40
"""Acknowledged before each kill: one in an idle server proves nothing."""

SESSIONS = """
    SELECT s.device_label, count(DISTINCT s.session_id), count(t.token_hash), max(s.revoke_time)
    FROM login_session s LEFT JOIN refresh_token t ON t.session_id = s.session_id
    GROUP BY s.device_label
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.timeout(amount(180, 1_800)),
    pytest.mark.xdist_group("kill"),
]

Rows = Callable[[str], Awaitable[Sequence[Sequence[Any]]]]


class Clients:
    """Those who write: who signs in and out, and who talks."""

    def __init__(self, client: InterviewClient, server: Replica, model: FakeOpenAI) -> None:
        account = server.account("viewer")
        self._client = client
        self._account = account
        self._model = model
        self.talkers = [Talker(client) for _ in range(TALKERS)]
        self.totals: Counter[tuple[str, Outcome]] = Counter()

    async def round(self, kill: Callable[[], Awaitable[None]], chance: Random) -> History:
        """Work until somebody is killed and everybody has noticed; return what was done."""
        history = History()
        signers = [SignIns(self._client, self._account, history, chance) for _ in range(SIGNERS)]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for signer in signers:
                group.create_task(signer.work())
            for talker in self.talkers:
                group.create_task(_talk(talker, history))
            while history.acknowledged("login", "refresh", "logout") < OPERATIONS or (
                history.acknowledged("turn") < TALKERS
            ):
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.random() * 0.1)
            await kill()
        self.totals += history.counts()
        return history

    async def check(self, history: History, rows: Rows) -> None:
        """Hold what was told against what is kept."""
        kept = {
            label: Kept(sessions, tokens, revoked is not None)
            for label, sessions, tokens, revoked in await rows(SESSIONS)
        }
        signer = SignIns(self._client, self._account, History(), Random())
        await check_sessions(history, kept, signer.refresh)
        for talker in self.talkers:
            await self._check_chat(talker)

    async def _check_chat(self, talker: Talker) -> None:
        stored = await talker.stored()
        _check_log(talker, stored)
        turn = talker.unfinished
        if turn is None:
            return
        known = any(event.turn_id == turn.turn_id for event in stored)
        asked = self._asked(turn)
        after = await talker.stored(turn)
        assert after[: len(stored)] == stored
        if known:
            assert after == stored
            assert self._asked(turn) == asked
        (end,) = (e for e in after if e.turn_id == turn.turn_id and kind_of(e) in TERMINAL)
        assert end.turn_failed is None or known
        talker.told = {event.sequence: event for event in after}
        turn.end = kind_of(end)

    def _asked(self, turn: Turn) -> int:
        """Return how often the model was asked for a turn."""
        return sum(
            request["messages"][-1]["content"] == turn.text for request in self._model.requests
        )


async def _talk(talker: Talker, history: History) -> None:
    """Say one thing after the other until a stream is cut."""
    while True:
        turn = Turn(f"turn {len(talker.turns)}")
        turn.text = f"{turn.text} {turn.turn_id}"
        talker.turns.append(turn)
        try:
            with history.recorded("turn", turn.turn_id):
                await talker.go_on(turn)
        except InterviewError:
            if history.of(turn.turn_id)[0].outcome is Outcome.REFUSED:
                raise
            return


def _check_log(talker: Talker, stored: Sequence[ChatResponse]) -> None:
    """Everything that was told is kept as it was told, in one piece and once."""
    assert [event.sequence for event in stored] == list(range(1, len(stored) + 1))
    for sequence, event in talker.told.items():
        assert stored[sequence - 1] == event
    for turn in talker.turns:
        events = [event for event in stored if event.turn_id == turn.turn_id]
        kinds = Counter(kind_of(event) for event in events)
        assert kinds["turn_started"] == sum(kinds[kind] for kind in TERMINAL) <= 1
        if turn.end == "turn_completed":
            answers = [e.message_completed.message for e in events if e.message_completed]
            assert [a and a.text for a in answers] == [f"You said: {turn.text}"]


def _reply(request: dict[str, Any]) -> Any:
    return answer("You ", "said: ", request["messages"][-1]["content"], pause=0.02)


@asynccontextmanager
async def _clients(folder: Path, database_url: str) -> AsyncIterator[tuple[Replica, Clients]]:
    async with running_fake_openai() as model:
        model.script_with(_reply)
        settings = {
            "OPENAI_API_KEY": "sk-test",
            "OPENAI_BASE_URL": model.base_url,
            "DATABASE_URL": database_url,
        }
        async with (
            replicas(folder, 1, **settings) as (server,),
            InterviewClient(server.target) as client,
        ):
            account = server.account("viewer")
            await client.sign_in(account.email, account.password)
            yield server, Clients(client, server, model)


def _check_amount(clients: Clients) -> None:
    """A run in which little happened proves little."""
    told = {f"{kind} {outcome}": number for (kind, outcome), number in clients.totals.items()}
    print(f"{KILLS} kills: {told}")
    for kind, least in (("login", 10), ("refresh", 10), ("logout", 5), ("turn", TALKERS)):
        assert clients.totals[kind, Outcome.OK] >= least * KILLS, clients.totals
    unknown = sum(n for (_, outcome), n in clients.totals.items() if outcome is Outcome.UNKNOWN)
    assert unknown >= KILLS * (SIGNERS + TALKERS)


async def test_kills_of_the_server_on_sqlite_lose_and_repeat_nothing(tmp_path: Path) -> None:
    file = tmp_path / "films.db"

    async def rows(sql: str) -> Sequence[Sequence[Any]]:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    async with _clients(tmp_path, f"sqlite:///{file}") as (server, clients):
        for number in range(KILLS):
            history = await clients.round(server.kill, Random(number))
            await server.start(demo=True)
            await clients.check(history, rows)
        assert server.banner.count("The demo users exist already") == KILLS
        _check_amount(clients)


async def test_kills_of_the_server_or_of_postgresql_lose_and_repeat_nothing(
    tmp_path: Path,
) -> None:
    with own_postgres() as postgres:
        url = postgres.url.replace("+asyncpg", "")

        async def rows(sql: str) -> Sequence[Sequence[Any]]:
            connection = await asyncpg.connect(url)
            try:
                return [tuple(row) for row in await connection.fetch(sql)]
            finally:
                await connection.close()

        async with _clients(tmp_path, url) as (server, clients):
            for number in range(KILLS):
                if number % 2:
                    history = await clients.round(server.kill, Random(number))
                    await server.start()
                else:
                    history = await clients.round(_killing(postgres), Random(number))
                    await asyncio.to_thread(postgres.start)
                    await server.ready()
                await clients.check(history, rows)
            _check_amount(clients)


def _killing(postgres: PostgresServer) -> Callable[[], Awaitable[None]]:
    async def kill() -> None:
        await asyncio.to_thread(postgres.kill)

    return kill
