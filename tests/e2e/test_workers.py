"""WORKERS above 1: processes that share a port, as clients and an operator meet them."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from interview_client import InterviewClient, InterviewError, MemoryTokenStore, Unavailable

from tests.support.server_process import ServerProcess, free_port, run_program, serving

CONNECTIONS = 8
GET_FILM = "/interview.catalogue.v1.CatalogueService/GetFilm"
OWN_CONNECTION = {
    # Channels to the same address share a connection where nothing tells them apart.
    "grpc.use_local_subchannel_pool": 1,
}

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("workers")]


@contextmanager
def _port_of_somebody_else() -> Iterator[int]:
    with closing(socket.socket()) as taken:
        # One that would share it with whoever asks for that.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def metrics_port() -> int:
    """A port that is free."""
    return free_port()


@pytest.fixture(scope="module")
def start_pair(
    tmp_path_factory: pytest.TempPathFactory, metrics_port: int
) -> Iterator[Callable[[], ServerProcess]]:
    """Returns a server of two workers: the one that runs, a new one where a test has ended it."""
    with ExitStack() as ending:
        started: list[ServerProcess] = []

        def running() -> ServerProcess:
            if not started or started[-1].process.poll() is not None:
                serves = serving(
                    tmp_path_factory.mktemp("pair"),
                    WORKERS="2",
                    METRICS_PORT=str(metrics_port),
                    DRAIN_DELAY_SECONDS="1",
                    GRACE_SECONDS="10",
                    READ_RATE="0",
                    LOGIN_RATE="0",
                )
                started.append(ending.enter_context(serves))
            return started[-1]

        yield running


@pytest.fixture
def pair(start_pair: Callable[[], ServerProcess]) -> ServerProcess:
    """A server of two workers that runs."""
    return start_pair()


def _counted(port: int, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    values = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(f"{name}{{")
        and all(f'{label}="{value}"' in line for label, value in labels.items())
    ]
    assert values, f"{name} with {labels} is not in {text}"
    return sum(values)


async def _clients(server: ServerProcess, closing: AsyncExitStack) -> list[InterviewClient]:
    """Clients of one login session, each with a connection of its own."""
    store = MemoryTokenStore()
    clients = [
        await closing.enter_async_context(
            InterviewClient(server.target, token_store=store, channel_options=OWN_CONNECTION)
        )
        for _ in range(CONNECTIONS)
    ]
    await clients[0].sign_in(server.viewer.email, server.viewer.password)
    return clients


def _lines(server: ServerProcess) -> list[dict[str, Any]]:
    whole, _, _ = server.log.rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def _answers(server: ServerProcess) -> Counter[int]:
    """Count the calls that each worker has logged."""
    return Counter(line["worker"] for line in _lines(server) if line["event"] == "call")


async def _eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def _calls_until(told: asyncio.Event, client: InterviewClient) -> int:
    """Call on one connection, one call after the other; return how many answers came."""
    answers = 0
    while not told.is_set():
        film = await client.catalogue.get_film(1 + answers % 700)
        assert film.name == f"films/{1 + answers % 700}"
        answers += 1
    return answers


async def test_every_worker_answers_and_the_start_is_told_once(pair: ServerProcess) -> None:
    assert (pair.folder / "banner").read_text().count("ready after") == 2
    events = Counter(line["event"] for line in _lines(pair) if "worker" not in line)
    assert events["schema verified"] == events["catalogue ready"] == events["agents ready"] == 1
    assert sorted(pair.workers) == [1, 2]
    async with asyncio.timeout(60), AsyncExitStack() as closing:
        # Which worker gets a connection is the kernel's choice, made anew for each.
        while sorted(_answers(pair)) != [1, 2]:
            for client in await _clients(pair, closing):
                assert (await client.catalogue.get_film(1)).name == "films/1"


async def test_one_port_tells_what_all_workers_count(
    pair: ServerProcess, metrics_port: int
) -> None:
    def calls_counted() -> float:
        name = "rpc_server_call_duration_seconds_count"
        return _counted(metrics_port, name, rpc_method=GET_FILM.removeprefix("/"))

    def calls_logged() -> int:
        return sum(line.get("method") == GET_FILM for line in _lines(pair))

    for number in ("1", "2"):
        assert _counted(metrics_port, "process_resident_memory_bytes", worker=number) > 0
    async with AsyncExitStack() as closing:
        clients = await _clients(pair, closing)
        await clients[0].catalogue.get_film(1)
        counted, logged = calls_counted(), calls_logged()
        for client in clients:
            await client.catalogue.get_film(1)
        await _eventually(lambda: calls_logged() == logged + CONNECTIONS)
        assert calls_counted() == counted + CONNECTIONS


async def test_a_chat_is_resumed_on_whichever_worker_answers(
    pair: ServerProcess,
) -> None:
    texts: list[str] = []
    async with AsyncExitStack() as closing:
        clients = await _clients(pair, closing)
        session, sequence = "", 0
        for client in clients:
            resume = (session, sequence) if session else None
            async with client.chat(resume=resume) as chat:
                async for event in chat.turn("Which films with dinosaurs do you have?"):
                    if event.message_completed is not None:
                        assert event.message_completed.message is not None
                        texts.append(event.message_completed.message.text)
                session, sequence = chat.session, chat.last_sequence
    assert len(texts) == CONNECTIONS
    assert set(texts) == {texts[0]}


async def test_no_caller_misses_a_worker_that_is_killed(
    pair: ServerProcess, metrics_port: int
) -> None:
    told = asyncio.Event()
    starts = _counted(metrics_port, "interview_worker_starts_total", worker="1")
    async with AsyncExitStack() as closing:
        clients = await _clients(pair, closing)
        before = _answers(pair)
        async with asyncio.TaskGroup() as group:
            calling = [group.create_task(_calls_until(told, client)) for client in clients]
            await _eventually(lambda: sum((_answers(pair) - before).values()) > 100)
            killed = pair.workers[1]
            killed.kill()
            await _eventually(lambda: "worker ready" in pair.log)
            told.set()
        assert sum(task.result() for task in calling) > 200
    (death,) = (line for line in _lines(pair) if line["event"] == "worker died")
    assert (death["worker"], death["pid"], death["exit_code"]) == (1, killed.pid, -signal.SIGKILL)
    assert _counted(metrics_port, "interview_worker_starts_total", worker="1") == starts + 1
    assert sorted(pair.workers) == [1, 2]
    assert pair.workers[1].pid != killed.pid
    known = _answers(pair)
    async with asyncio.timeout(60), AsyncExitStack() as closing:
        while (_answers(pair) - known)[1] == 0:
            for client in await _clients(pair, closing):
                await client.catalogue.get_film(1)


async def test_all_drain_together_and_calls_that_had_begun_are_answered(
    pair: ServerProcess,
) -> None:
    answered = 0
    begun_before: list[InterviewError] = []
    told = asyncio.Event()

    async def call_to_the_end(client: InterviewClient) -> None:
        nonlocal answered
        while True:
            early = not told.is_set()
            try:
                await client.catalogue.get_film(1)
                answered += 1
            except Unavailable as error:
                if early:
                    begun_before.append(error)
                return

    async with AsyncExitStack() as closing:
        clients = await _clients(pair, closing)
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(call_to_the_end(client))
            await _eventually(lambda: answered > 100)
            workers = pair.workers.values()
            pair.process.send_signal(signal.SIGTERM)
            told.set()
    assert begun_before == []
    assert await asyncio.to_thread(pair.process.wait, 30) == 0
    ends = [line.get("worker", 0) for line in _lines(pair) if line["event"] == "stopped"]
    assert sorted(ends[:2]) == [1, 2]
    assert ends[2:] == [0]
    assert not any(worker.is_running() for worker in workers)


def test_no_worker_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, WORKERS="2", exit_code=-signal.SIGKILL) as server:
        workers = list(server.workers.values())
        assert len(workers) == 2
        server.process.kill()
        server.process.wait()
        _, alive = psutil.wait_procs(workers, timeout=60)
        for worker in alive:
            worker.kill()
        assert alive == []
        # Each came to its own end in order, and nothing holds the port any more.
        assert server.log.count('"stopped"') == 2
        with closing(socket.socket()) as probe:
            host, _, port = server.target.partition(":")
            assert probe.connect_ex((host, int(port))) != 0


def test_the_supervisor_loads_nothing_of_what_its_workers_do() -> None:
    heavy = {"asyncpg", "grpc", "openai", "semantic_kernel", "sqlalchemy"}
    script = "import sys, server.supervisor; sys.stdout.write(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert heavy & {name.partition(".")[0] for name in loaded.split()} == set()


def test_a_port_that_would_be_shared_is_refused_and_nothing_is_started(tmp_path: Path) -> None:
    with _port_of_somebody_else() as port:
        done = run_program("serve", folder=tmp_path, WORKERS="2", PORT=str(port))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: cannot listen on 127.0.0.1:{port}: another program has")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PORT": "70000"}, "error: PORT: "),
        ({"DATABASE_URL": "postgresql://127.0.0.1:9/films"}, "error: the database cannot be used"),
        ({"DEBUG_MODE": "true"}, "error: DEBUG_MODE: needs WORKERS=1"),
        ({"HOST": "192.0.2.1"}, "error: cannot listen on 192.0.2.1:"),
        ({"HOST": "no such host"}, "error: cannot listen on no such host:"),
    ],
)
def test_what_is_wrong_is_told_once_for_all_workers(
    settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    everywhere = {"PORT": "0", "ALLOW_PLAINTEXT": "true"}
    done = run_program("serve", folder=tmp_path, WORKERS="3", **{**everywhere, **settings})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(said)
