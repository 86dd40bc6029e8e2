"""Servers that stop while clients use them: nobody loses a call, a turn or an event."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from interview_client import InterviewClient, InterviewError, ServerDraining, kind_of

from tests.support.amount import amount
from tests.support.fake_openai import FakeOpenAI, Until, answer, running_fake_openai, words
from tests.support.replicas import AGENT, Replica, replicas
from tests.support.server_process import Account
from tests.support.talker import Talker

RESTARTS = amount(2, 24)
READERS, TALKERS = 4, 3
GRACE_SECONDS = 30.0
MODEL = {"OPENAI_API_KEY": "sk-test", "OPENAI_MODEL": "fake-model"}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.timeout(amount(180, 1_800)),
    pytest.mark.xdist_group("drain"),
]


class Load:
    """Calls of every kind, one after the other from each caller."""

    def __init__(self, client: InterviewClient, signer: InterviewClient, account: Account) -> None:
        self.answered: Counter[str] = Counter()
        self.failed: list[InterviewError] = []
        self.talkers = [Talker(client) for _ in range(TALKERS)]
        self._client = client
        self._signer = signer
        self._account = account
        self._over = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Call for the block; then let every call end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._repeat("read", self._read))
            for talker in self.talkers:
                group.create_task(self._repeat("turn", partial(_turn, talker)))
            group.create_task(self._repeat("sign-in", self._sign_in_and_out))
            yield
            self._over = True

    async def _repeat(self, kind: str, call: Callable[[], Awaitable[None]]) -> None:
        while not self._over:
            try:
                await call()
            except InterviewError as error:
                self.failed.append(error)
            else:
                self.answered[kind] += 1
            await asyncio.sleep(0.02)

    async def _read(self) -> None:
        assert (await self._client.catalogue.get_film(1)).name == "films/1"

    async def _sign_in_and_out(self) -> None:
        """Calls that no policy repeats, and one that meets the session on any server."""
        await self._signer.sign_in(self._account.email, self._account.password)
        await self._signer.get_current_principal()
        await self._signer.sign_out()


async def _turn(talker: Talker) -> None:
    turn = await talker.turn("Once upon a time?")
    assert turn.end == "turn_completed"


async def _eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _client(target: str, account: Account | None = None) -> AsyncIterator[InterviewClient]:
    """The published client as it is made for several servers."""
    async with InterviewClient(target, health_service=AGENT) as client:
        if account is not None:
            await client.sign_in(account.email, account.password)
        yield client


async def test_restarts_in_turn_fail_no_call_and_cut_no_turn(
    postgresql_url: str, tmp_path: Path
) -> None:
    async with running_fake_openai() as model:
        model.script_with(lambda _request: answer("Once ", "upon ", "a time.", pause=0.05))
        settings = {"OPENAI_BASE_URL": model.base_url, **MODEL, "DATABASE_URL": postgresql_url}
        times = {"DRAIN_DELAY_SECONDS": "1", "GRACE_SECONDS": str(GRACE_SECONDS)}
        async with replicas(tmp_path, 2, **settings, **times) as pair:
            target = "ipv4:" + ",".join(replica.target for replica in pair)
            account = pair[0].account("viewer")
            async with _client(target, account) as client, _client(target) as signer:
                load = Load(client, signer, account)
                async with load.running():
                    for number in range(RESTARTS):
                        await _restart(pair[number % 2])
                await _check(load)


async def _restart(replica: Replica) -> None:
    began = time.monotonic()
    assert await replica.stop() == 0
    assert time.monotonic() - began < GRACE_SECONDS
    before = replica.calls
    await replica.start()
    # Both must have callers before the other one goes.
    await _eventually(lambda: replica.calls > before + 50)


async def _check(load: Load) -> None:
    print(f"{RESTARTS} restarts: {dict(load.answered)} answered, {len(load.failed)} failed")
    assert load.failed == []
    # A run in which nothing was called proves nothing.
    assert load.answered["read"] > 100 * RESTARTS
    assert load.answered["sign-in"] > 10 * RESTARTS
    assert load.answered["turn"] > 10 * RESTARTS
    assert sum(talker.go_aways for talker in load.talkers) >= RESTARTS
    for talker in load.talkers:
        # The second: a message that crossed the GoAway, refused before anything was done.
        assert {end.reason for end in talker.ends} <= {"SERVER_DRAINING", "WRONG_STATE"}
        stored = await talker.stored()
        assert [event.sequence for event in stored] == list(range(1, len(stored) + 1))
        assert stored == [talker.told[number] for number in sorted(talker.told)]
        ends = Counter(e.turn_id for e in stored if kind_of(e) == "turn_completed")
        assert ends == Counter(turn.turn_id for turn in talker.turns)


@asynccontextmanager
async def _one_server(
    folder: Path, database: Path, model: FakeOpenAI
) -> AsyncIterator[tuple[Replica, InterviewClient]]:
    settings = {"OPENAI_BASE_URL": model.base_url, "DATABASE_URL": f"sqlite:///{database}", **MODEL}
    times = {"DRAIN_DELAY_SECONDS": "0", "GRACE_SECONDS": str(GRACE_SECONDS)}
    async with (
        replicas(folder, 1, **settings, **times) as (server,),
        InterviewClient(server.target) as client,
    ):
        account = server.account("viewer")
        await client.sign_in(account.email, account.password)
        yield server, client


async def test_who_is_idle_leaves_and_what_runs_ends_well(tmp_path: Path) -> None:
    told = asyncio.Event()
    async with (
        running_fake_openai() as model,
        _one_server(tmp_path, tmp_path / "films.db", model) as (server, client),
    ):
        model.script(answer("Hello."))
        idle, busy = Talker(client), Talker(client)
        await _turn(idle)
        model.script_with(
            lambda _request: [*words("Once "), Until(told), *answer("upon ", "a time.")]
        )
        asking = asyncio.create_task(client.ask("And now?"))
        running = asyncio.create_task(busy.turn("And then?"))
        await _eventually(lambda: model.open_streams == 2)
        server.signal(signal.SIGTERM)
        assert isinstance(await idle.listen(), ServerDraining)
        assert idle.go_aways == 1
        # Nobody waited for whom: what runs still does.
        assert model.open_streams == 2
        told.set()
        assert (await running).end == "turn_completed"
        assert (await asking).answer == "Once upon a time."
        assert isinstance(await busy.listen(), ServerDraining)
        assert busy.streams == 1
        assert await server.ended() == 0


async def test_a_second_signal_cuts_what_runs_and_tells_it_why(tmp_path: Path) -> None:
    async with (
        running_fake_openai() as model,
        _one_server(tmp_path, tmp_path / "films.db", model) as (server, client),
    ):
        model.script_with(lambda _request: [*words("Once "), Until(asyncio.Event())])
        asking = asyncio.create_task(client.ask("And now?"))
        busy = Talker(client)
        running = asyncio.create_task(busy.turn("And then?"))
        await _eventually(lambda: model.open_streams == 2)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        await _eventually(lambda: busy.go_aways == 1)
        assert not asking.done()
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert time.monotonic() - began < GRACE_SECONDS
        with pytest.raises(ServerDraining):
            await asking
        await _eventually(lambda: bool(busy.ends))
        assert isinstance(busy.ends[0], ServerDraining)
        running.cancel()
        assert model.aborted_streams == 2
