"""`python -m benchmarks.watch`: how soon watches tell a change, how many a second, and their cost.

Servers are processes of their own. Watches read raw bytes here, so that what is measured is the
server's work more than the client's; both share the machine.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import grpc
import psutil

from benchmarks.databases import fresh_postgres
from benchmarks.processes import PASSWORD, Served, command, environment, prepare, running_server
from server.catalogue.change_log import ChangeLog
from server.catalogue.changes import Author, ChangeType, Entry, ResourceKind
from server.catalogue.film_statements import FILMS_BY_NUMBER, film_of
from server.database.engine import Database, WriteSession
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.generated.interview.catalogue.v1 import (
    catalogue_service_pb2_grpc,
    change_pb2,
    film_changes_pb2,
    resources_pb2,
)
from server.settings.database import database_url

WATCH: Final = "/interview.catalogue.v1.CatalogueService/WatchCatalogue"
USERS: Final = 20
WATCHES_PER_USER: Final = 10
BATCH: Final = 100

Header = tuple[str, str]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watch", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--changes", type=int, default=3000, help="changes of a burst")
    parser.add_argument("--delays", type=int, default=300, help="changes whose delay is taken")
    options = parser.parse_args()
    with _prepared(options.database) as (env, folder), ExitStack() as stack:
        first = stack.enter_context(running_server(env, folder))
        other = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        second = stack.enter_context(running_server(env, other))
        asyncio.run(_measure(env, first, second, options))


@contextmanager
def _prepared(database: str) -> Iterator[tuple[Mapping[str, str], Path]]:
    settings = {"WATCH_RATE": "0", "WRITE_RATE": "0", "LOGIN_RATE": "0", "MAX_WATCHES": "1000"}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        url = f"sqlite:///{folder / 'interview.db'}"
        if database == "postgresql":
            url = stack.enter_context(fresh_postgres())
        settings |= {"DATABASE_URL": url, "SECRET_KEY": "0123456789abcdef" * 4}
        env = environment(folder, **settings)
        prepare(env, folder)
        for number in range(USERS):
            creation = ("users", "create", _email(number), "--role", "manager", "--password-stdin")
            command({**env, "PASSWORD_COST": "4"}, folder, *creation, given=PASSWORD + "\n")
        yield env, folder


def _email(number: int) -> str:
    return f"watcher{number}@example.com"


async def _measure(env: Mapping[str, str], first: Served, second: Served, options: Any) -> None:
    database = Database(database_url(env["DATABASE_URL"]))
    channels = [grpc.aio.insecure_channel(first.target, [("n", n)]) for n in range(4)]
    users = [await _signed_in(channels[0], _email(number)) for number in range(USERS)]
    async with grpc.aio.insecure_channel(second.target) as beyond:
        for name, channel in (("same process", channels[0]), ("other process", beyond)):
            delays = await _delays(channels[0], channel, users, options.delays)
            cut = quantiles(delays, n=100)
            print(  # its output
                f"{name}: a change is told {median(delays) * 1e3:.1f} ms after the answer of its"
                f" call (median; p99 {cut[98] * 1e3:.1f} ms, {len(delays)} changes)"
            )
    for watches in (1, 10, 100):
        await _burst(first, database, channels, users, watches, options.changes)
    await _memory(first, channels, users)
    for channel in channels:
        await channel.close()
    await database.close()


async def _signed_in(channel: grpc.aio.Channel, email: str) -> Header:
    stub = auth_service_pb2_grpc.AuthServiceStub(channel)
    answer = await stub.Login(auth_service_pb2.LoginRequest(email=email, password=PASSWORD))
    return "authorization", f"Bearer {answer.tokens.access_token}"


async def _opened(channel: grpc.aio.Channel, user: Header) -> Any:
    """Open a watch that reads raw bytes, and wait until it has begun."""
    method: Any = channel.unary_stream(WATCH)
    call = method(change_pb2.WatchCatalogueRequest().SerializeToString(), metadata=(user,))
    await call.read()
    return call


async def _delays(
    channel: grpc.aio.Channel, watching: grpc.aio.Channel, users: Sequence[Header], changes: int
) -> list[float]:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(channel)
    watch = await _opened(watching, users[1])
    found = []
    for number in range(changes):
        film = resources_pb2.Film(name="films/1", title=f"TITLE {number} {time.time()}")
        told = asyncio.ensure_future(_arrival(watch))
        await stub.UpdateFilm(
            film_changes_pb2.UpdateFilmRequest(film=film), metadata=(users[0],), timeout=20
        )
        answered = time.perf_counter()
        found.append(await told - answered)
    watch.cancel()
    return found


async def _arrival(watch: Any) -> float:
    """Return when the next change arrives; checkpoints are passed over."""
    while True:
        message = change_pb2.WatchCatalogueResponse.FromString(await watch.read())
        if message.HasField("change"):
            return time.perf_counter()


async def _burst(
    served: Served,
    database: Database,
    channels: Sequence[grpc.aio.Channel],
    users: Sequence[Header],
    watches: int,
    changes: int,
) -> None:
    """Log changes as fast as may be, and wait until every watch has told all of them."""
    opened = [
        await _opened(channels[n % len(channels)], users[n // WATCHES_PER_USER])
        for n in range(watches)
    ]
    cpu, started = served.cpu(), time.perf_counter()
    writing = asyncio.create_task(_log_changes(database, changes))
    await asyncio.gather(*(_read(watch, changes) for watch in opened))
    seconds = time.perf_counter() - started
    await writing
    used = served.cpu() - cpu
    print(  # its output
        f"{watches} watches: {changes / seconds:,.0f} changes/s, {changes * watches / seconds:,.0f}"
        f" messages/s; {used / changes / watches * 1e6:.0f} us of the server's CPU a message"
    )
    for watch in opened:
        watch.cancel()


async def _read(watch: Any, changes: int) -> None:
    left = changes
    while left:
        raw = await watch.read()
        left -= raw[0] == 0x0A  # field 1, a change


async def _log_changes(database: Database, changes: int) -> None:
    log = ChangeLog(lambda: datetime.now(UTC), is_sqlite=database.is_sqlite)
    film = film_of((await database.read.all(FILMS_BY_NUMBER, {"film_ids": [2]}))[0])
    entry = Entry(ChangeType.UPDATED, ResourceKind.FILM, 2, film, film)

    async def work(write: WriteSession) -> None:
        first = await log.claim(write, BATCH)
        await log.add(write, first, [entry] * BATCH, Author("users/benchmark", "r"))

    for _ in range(changes // BATCH):
        await database.transaction(work)


async def _memory(
    served: Served, channels: Sequence[grpc.aio.Channel], users: Sequence[Header]
) -> None:
    process = psutil.Process(served.process.pid)
    before = process.memory_info().rss
    number = USERS * WATCHES_PER_USER
    opened = [
        await _opened(channels[n % len(channels)], users[n // WATCHES_PER_USER])
        for n in range(number)
    ]
    cpu = served.cpu()
    await asyncio.sleep(10)
    each = (process.memory_info().rss - before) / number
    busy = (served.cpu() - cpu) / 10
    print(  # its output
        f"{number} idle watches: {each / 1024:.0f} KiB each, {busy * 100:.1f} % of a core in all"
    )
    for watch in opened:
        watch.cancel()


if __name__ == "__main__":
    main()
