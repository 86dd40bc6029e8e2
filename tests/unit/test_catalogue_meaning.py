"""Films by their meaning: found, kept current with the log of changes, read once."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import update

from server.catalogue.loaded import films_loaded
from server.catalogue.meaning import LEAST_NEARNESS, LOOK_SECONDS, Meaning, is_installed
from server.catalogue.meaning_reads import CatalogueSize, FilmText, MeaningReads
from server.catalogue.models import Film
from server.core.errors import DomainError
from server.database.engine import Database
from server.generated.interview.catalogue.v1 import resources_pb2, taxonomy_pb2
from tests.support.film_desk import FilmDesk
from tests.support.running import Running, capturing_log

BEES = "Women keep bees, and sell the honey of their hives."


class Seconds:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self) -> None:
        """Let so much time pass that changes are looked for."""
        self.now += LOOK_SECONDS


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
async def beside(running: Running, sample_database_url: str) -> AsyncIterator[Database]:
    """The database of the running server, opened a second time, as another process does."""
    database = Database(sample_database_url)
    yield database
    await database.close()


@pytest.fixture
async def meaning(beside: Database, seconds: Seconds) -> AsyncIterator[Meaning]:
    log, _ = capturing_log()
    meaning = Meaning(MeaningReads(beside), seconds, log)
    yield meaning
    await meaning.close()


async def _numbers(meaning: Meaning, query: str, limit: int = 5) -> list[int]:
    return [number for number, _ in await meaning.ranks(query, limit)]


async def test_films_are_found_by_words_that_they_do_not_have(
    meaning: Meaning, beside: Database
) -> None:
    found = await meaning.ranks("wizardry lessons", 3)
    texts = await MeaningReads(beside).films([number for number, _ in found])
    assert "Harry Potter and the Philosopher's Stone" in "".join(film.text for film in texts)
    nearness = [near for _, near in found]
    assert nearness == sorted(nearness, reverse=True)
    assert len(found) == 3
    assert all(LEAST_NEARNESS <= near <= 1 for near in nearness)


async def test_changes_are_followed_after_a_second(
    running: Running, meaning: Meaning, seconds: Seconds
) -> None:
    desk = await FilmDesk.open(running)
    before = await _numbers(meaning, "apiarists")
    created = await desk.create(title="THE HIVE", description=BEES)
    number = int(created.name.removeprefix("films/"))
    assert await _numbers(meaning, "apiarists with beehives") != [number]
    seconds.pass_by()
    assert (await _numbers(meaning, "beekeeping honey"))[0] == number
    await desk.update(created.name, title="THE RACE", description="Cars race through a desert.")
    seconds.pass_by()
    assert number not in await _numbers(meaning, "beekeeping honey")
    assert number in await _numbers(meaning, "a car race in the desert")
    await desk.delete(created.name)
    seconds.pass_by()
    assert number not in await _numbers(meaning, "a car race in the desert", 1_000)
    assert await _numbers(meaning, "apiarists") == before


async def test_a_load_past_the_log_is_noticed(
    meaning: Meaning, beside: Database, seconds: Seconds
) -> None:
    assert 1 not in await _numbers(meaning, "beekeeping honey")
    async with beside.write() as write:
        await write.execute(update(Film).where(Film.film_id == 1).values(description=BEES))
        await films_loaded(write, is_sqlite=beside.is_sqlite, film_ids=[1])
    seconds.pass_by()
    assert 1 in await _numbers(meaning, "beekeeping honey")


async def test_a_category_that_gets_another_name_changes_its_films(
    running: Running, meaning: Meaning, seconds: Seconds
) -> None:
    desk = await FilmDesk.open(running)
    film = (await desk.create(title="Q", categories=["categories/1"])).name
    number = int(film.removeprefix("films/"))
    assert number not in await _numbers(meaning, "beekeeping honey", 50)
    category = resources_pb2.Category(name="categories/1", display_name="Beekeeping")
    mask = FieldMask(paths=["display_name"])
    await desk.UpdateCategory(
        taxonomy_pb2.UpdateCategoryRequest(category=category, update_mask=mask)
    )
    seconds.pass_by()
    assert number in await _numbers(meaning, "beekeeping honey", 50)


async def test_more_films_than_are_kept_are_not_ranked(beside: Database, seconds: Seconds) -> None:
    log, lines = capturing_log()
    meaning = Meaning(MeaningReads(beside), seconds, log, most_films=10)
    for _ in range(2):
        with pytest.raises(DomainError, match="at most 10 films") as caught:
            await meaning.ranks("space", 5)
        seconds.pass_by()
    assert caught.value.reason == "RANKING_UNAVAILABLE"
    told = [line.kwargs for line in lines]
    assert [(line["level"], line["event"]) for line in told] == [
        ("warning", "ranking by meaning is off")
    ]


class FewFilms(MeaningReads):
    """Films without a database; counts how often they are read."""

    def __init__(self) -> None:
        self.revision, self.read, self.fails = 1, 0, False
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def size(self) -> CatalogueSize:
        if self.fails:
            raise ConnectionError("the database is away")
        return CatalogueSize(self.revision, 2)

    async def films_after(self, film_id: int) -> Sequence[FilmText]:
        await self.may_read.wait()
        if film_id > 0:
            return []
        self.read += 1
        return [FilmText(1, f"The Hive. {BEES}"), FilmText(2, "The Race. Cars race.")]


@pytest.fixture
def few() -> FewFilms:
    return FewFilms()


@pytest.fixture
async def of_few(few: FewFilms, seconds: Seconds) -> AsyncIterator[Meaning]:
    log, _ = capturing_log()
    meaning = Meaning(few, seconds, log)
    yield meaning
    await meaning.close()


async def test_queries_at_once_read_the_films_once(of_few: Meaning, few: FewFilms) -> None:
    found = await asyncio.gather(*(of_few.ranks("honey", 1) for _ in range(10)))
    assert {pages[0][0] for pages in found} == {1}
    assert few.read == 1


async def test_a_reading_goes_on_when_who_waited_is_gone(of_few: Meaning, few: FewFilms) -> None:
    few.may_read.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(of_few.ranks("honey", 1), 0.05)
    few.may_read.set()
    assert await _numbers(of_few, "honey") == [1]
    assert few.read == 1


async def test_after_a_failure_the_next_query_tries_again(
    of_few: Meaning, few: FewFilms, seconds: Seconds
) -> None:
    assert await _numbers(of_few, "honey") == [1]
    few.fails = True
    seconds.pass_by()
    with pytest.raises(ConnectionError):
        await of_few.ranks("honey", 1)
    few.fails = False
    assert await _numbers(of_few, "honey") == [1]


@pytest.mark.parametrize("query", [" ", "!", "\N{HONEYBEE}", "\x00", "蜂"])
async def test_a_query_may_say_little(of_few: Meaning, query: str) -> None:
    assert all(near >= LEAST_NEARNESS for _, near in await of_few.ranks(query, 5))


async def test_what_ends_while_films_are_read_ends_at_once(of_few: Meaning, few: FewFilms) -> None:
    few.may_read.clear()
    waiting = asyncio.create_task(of_few.ranks("honey", 1))
    await asyncio.sleep(0.05)
    await of_few.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_the_server_does_not_import_the_extra() -> None:
    assert is_installed()
    program = (
        "import sys, server.app, server.catalogue.meaning\n"
        "print(sorted({'wordllama', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True
    )
    assert done.stdout.split() == ["[]"], done.stderr
