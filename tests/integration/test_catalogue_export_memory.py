"""Many films in and out: the memory of a server does not grow with their number."""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from time import perf_counter

import pytest

from server.generated.interview.catalogue.v1 import film_bulk_pb2 as pb
from server.generated.interview.catalogue.v1 import resources_pb2
from tests.support.amount import amount
from tests.support.bulk_desk import BULK, BulkDesk, config, frames
from tests.support.film_desk import film
from tests.support.running import Running, running_server

WARM = 1_000
FILMS = amount(3_000, 100_000)
BATCH = 250
MOST_BYTES = 32 * 1024 * 1024
"""What server and client together may take beyond what they took for WARM films: some batches."""


@pytest.fixture(scope="module")
async def unhurried(shared_url: str, shared_folder: Path) -> AsyncIterator[Running]:
    """A server over the sample films."""
    async with running_server(shared_url, shared_folder, **BULK) as running:
        yield running


class Measured:
    """Films that were moved, in what time, and the most memory that this process had then."""

    def __init__(self) -> None:
        self.films, self.most = 0, 0
        self._started = perf_counter()

    def note(self, films: int) -> None:
        """Count films, and look at the memory."""
        self.films += films
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        self.most = max(self.most, pages * os.sysconf("SC_PAGE_SIZE"))

    @property
    def speed(self) -> float:
        """Films per second until now."""
        return self.films / (perf_counter() - self._started)


def _batches(films: int) -> Iterator[Sequence[resources_pb2.Film]]:
    for start in range(0, films, BATCH):
        yield [
            film(
                title=f"MANY {number}",
                description=f"An epic drama of robot {number} who must fight a shark",
                categories=["categories/1"],
                actors=["actors/1", "actors/2", "actors/3"],
            )
            for number in range(start, start + BATCH)
        ]


async def _move_in(desk: BulkDesk, films: int) -> tuple[Measured, float]:
    measured, call = Measured(), desk.stream(timeout=3_000)
    for request in frames(config(), _batches(films)):
        await call.write(request)
        measured.note(len(request.batch.films))
    await call.done_writing()
    done = (await call).film_import
    assert (done.state, done.created_count) == (pb.FILM_IMPORT_STATE_SUCCEEDED, films)
    return measured, measured.speed


async def _move_out(desk: BulkDesk) -> tuple[Measured, float]:
    measured = Measured()
    async for batch in desk.exporting():
        measured.note(len(batch.films))
    return measured, measured.speed


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.timeout(amount(180, 3_600))
async def test_films_go_through_a_memory_that_stays_small(unhurried: Running) -> None:
    desk = await BulkDesk.open(unhurried)
    await _move_in(desk, WARM)
    warm = (await _move_out(desk))[0].most
    came, speed_in = await _move_in(desk, FILMS)
    went, speed_out = await _move_out(desk)
    assert went.films >= FILMS + WARM
    more = max(came.most, went.most) - warm
    kind = "sqlite" if unhurried.app.database.is_sqlite else "postgresql"
    print(  # shown by `pytest -s`
        f"\n{kind}: in {speed_in:.0f} films/s, out {speed_out:.0f} films/s,"
        f" {more / 2**20:.1f} MiB more than for {WARM} films"
    )
    assert more < MOST_BYTES
