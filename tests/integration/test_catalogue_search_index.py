"""The search index: how it is filled, migrated, kept and read, on both databases."""

import re
from collections.abc import AsyncIterator, Sequence
from io import StringIO

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from server.catalogue import search_statements
from server.catalogue.commands import reindex as reindex_command
from server.catalogue.film_search import FilmSearch
from server.catalogue.indexing import reindex
from server.catalogue.query_fields import film_fields
from server.catalogue.search_reads import SqlSearch
from server.core.clock import utc_now
from server.core.paging import PageRequest
from server.database import migrate
from server.database.engine import Database
from tests.support.films import store_films
from tests.support.plans import filled, plans, record

FILMS = 20_000
MATCHED = re.compile("VIRTUAL TABLE INDEX [0-9]+:M")
BEFORE = "0005_from_0003"
COLUMNS = ("title", "description", "categories", "actors")


async def _titles(database: Database, query: str, size: int = 50) -> list[str]:
    search = FilmSearch(SqlSearch(database), film_fields(), utc_now)
    page = await search.search_films(query, PageRequest(size))
    return [match.film.title for match in page.rows]


async def _store(database: Database) -> None:
    """Store forty films of which none is deleted."""
    await store_films(database)
    await _run(database, "UPDATE film SET delete_time = NULL")


async def _run(database: Database, *statements: str) -> None:
    async with database.write() as write:
        for statement in statements:
            await write.execute(text(statement))


async def _reindex(database: Database, film_ids: Sequence[int] | None = None) -> int:
    async with database.write() as write:
        return await reindex(write, is_sqlite=database.is_sqlite, film_ids=film_ids)


async def _rows(database: Database, statement: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await database.read.all(text(statement))]


async def _index(database: Database) -> list[list[tuple[object, ...]]]:
    """Return what the index holds, as text."""
    key = "rowid" if database.is_sqlite else "film_id"
    columns = ", ".join(f"CAST({name} AS text)" for name in COLUMNS)
    return [
        await _rows(database, f"SELECT {key}, {columns} FROM film_fts ORDER BY 1"),
        sorted(await _rows(database, "SELECT variant, word FROM search_variant"), key=str),
    ]


async def test_the_migration_fills_the_index_as_indexing_does(sample_database_url: str) -> None:
    await migrate.downgrade(sample_database_url, BEFORE)
    await migrate.upgrade(sample_database_url)
    database = Database(sample_database_url)
    migrated = await _index(database)
    assert len(migrated[0]) > 250
    assert await _titles(database, "jurassik") == await _titles(database, "jurassic")
    await _reindex(database)
    assert await _index(database) == migrated
    await database.close()


async def test_what_served_before_finds_what_it_found_after_going_back(
    sample_database_url: str,
) -> None:
    await migrate.downgrade(sample_database_url, BEFORE)
    database = Database(make_url(sample_database_url))
    if database.is_sqlite:
        found = await _rows(
            database, "SELECT rowid FROM film_fts WHERE film_fts MATCH 'title \\: \"jurass\"'"
        )
    else:
        found = await _rows(
            database, "SELECT film_id FROM film_fts WHERE title @@ CAST('jurass' AS tsquery)"
        )
    assert len(found) >= 3
    await database.close()


async def test_a_film_that_is_changed_is_found_by_its_new_words_alone(database: Database) -> None:
    await _store(database)
    await _run(database, "UPDATE film SET title = 'Zebra Crossing', description = NULL"
               " WHERE film_id = 3")  # fmt: skip
    assert await _titles(database, "zebra") == []
    assert await _reindex(database, [3, 3_000]) == 1
    assert await _titles(database, "zebra") == ["Zebra Crossing"]
    assert await _titles(database, "zebar") == ["Zebra Crossing"]
    await _run(database, "UPDATE film SET title = 'Quiet' WHERE film_id = 3")
    await _reindex(database, [3])
    assert await _titles(database, "zebra") == []


async def test_new_names_of_categories_and_actors_are_found(database: Database) -> None:
    await _store(database)
    numbers = [row[0] for row in await _rows(database, "SELECT film_id FROM film")]
    before = await _titles(database, "animation", 100)
    assert before
    await _run(
        database,
        "UPDATE category SET name = 'Cartoons' WHERE category_id = 2",
        "UPDATE actor SET last_name = 'Wintersmith' WHERE actor_id = 1",
    )
    assert await _reindex(database, [int(str(number)) for number in numbers]) == len(numbers)
    assert await _titles(database, "animation", 100) == []
    assert await _titles(database, "cartoon", 100) == before
    assert await _titles(database, "penelope wintersmith", 100)


async def test_a_film_that_is_gone_leaves_the_index(database: Database) -> None:
    await _store(database)
    for table in ("film_actor", "film_category", "film"):
        await _run(database, f"DELETE FROM {table} WHERE film_id = 5")
    assert await _reindex(database, [5]) == 0
    key = "rowid" if database.is_sqlite else "film_id"
    assert await _rows(database, f"SELECT {key} FROM film_fts WHERE {key} = 5") == []


async def test_the_command_indexes_and_counts_what_was_written_by_hand(
    sample_database_url: str,
) -> None:
    database = Database(sample_database_url)
    await _run(database, "UPDATE film SET title = 'Handwritten' WHERE film_id = 9",
               "DELETE FROM film_count")  # fmt: skip
    revision = await _rows(database, "SELECT revision FROM catalogue_state")
    out, err = StringIO(), StringIO()
    assert await reindex_command(sample_database_url, out=out, err=err) == 0
    films = (await _rows(database, "SELECT count(*) FROM film"))[0][0]
    assert (out.getvalue(), err.getvalue()) == (f"indexed {films} films\n", "")
    assert await _titles(database, "handwriten") == ["Handwritten"]
    assert await _rows(database, "SELECT films FROM film_count WHERE kind = 'film'") == [(films,)]
    assert await _rows(database, "SELECT revision FROM catalogue_state") > revision
    await database.close()


async def test_candidates_are_bounded_and_films_with_all_words_come_first_still(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _store(database)
    await _run(
        database,
        "UPDATE film SET title = 'common ' || film_id, description = 'plain'",
        "UPDATE film SET title = 'common', description = 'rare plain' WHERE film_id = 40",
    )
    await _reindex(database)
    monkeypatch.setattr(search_statements, "MAX_CANDIDATES", 5)
    assert len(await _titles(database, "common", 100)) == 5
    found = await _titles(database, "plain common rare", 100)
    assert found[0] == "common", "that has all of the words, and comes late in the index"
    assert len(found) <= 16


@pytest.fixture(scope="module", params=("sqlite", "postgresql"))
async def big(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Database]:
    async with filled(request, tmp_path_factory.mktemp("big"), FILMS) as database:
        await _reindex(database)
        yield database


async def test_no_search_reads_a_whole_table(big: Database) -> None:
    reading = big.read
    recording = record(big)
    try:
        for query in ("title", "about 77 title", "titel", "category3", "given7 family", "abuot"):
            await _titles(big, query)
            for plan in await plans(big, recording, at_most=4 * FILMS):
                # SQLite calls it a scan when it reads what a MATCH found.
                faults = [fault for fault in plan.faults if not MATCHED.search(fault)]
                assert not faults, f"{query}: {faults}\n{plan}"
    finally:
        big.read = reading
