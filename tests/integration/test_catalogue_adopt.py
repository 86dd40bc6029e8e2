"""Adopting a PostgreSQL database that Pagila was restored into."""

import asyncio
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from server.catalogue.commands import adopt, import_pagila
from server.catalogue.models import Film
from server.catalogue.pagila_tables import TABLES
from server.database import migrate
from server.database.engine import Database
from tests.support.pagila import (
    REAL_COUNTS,
    REAL_DUMP,
    REAL_SCHEMA,
    SMALL_DUMP,
    SMALL_SCHEMA,
    checksums,
    connect,
    needs_real_pagila,
    restore,
)


@pytest.fixture
async def restored_url(postgresql_url: str) -> str:
    """A database with the small Pagila, as restored."""
    await restore(postgresql_url, SMALL_SCHEMA, SMALL_DUMP)
    return postgresql_url


async def _adopt(url: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = await adopt(url, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


async def _fetch(url: str, statement: str) -> list[Any]:
    connection = await connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def _execute(url: str, script: str) -> None:
    connection = await connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


INDEXED = "SELECT film_id, title::text, description::text FROM film_fts ORDER BY film_id"


async def test_a_restored_pagila_is_adopted_without_touching_a_row(restored_url: str) -> None:
    before = await checksums(restored_url)
    code, out, err = await _adopt(restored_url)
    assert (code, err) == (0, "")
    head = migrate.head_revision()
    assert out == f"adopted: the schema is at revision {head}; 6 films indexed for search\n"
    assert await migrate.current_revision(restored_url) == head
    assert await checksums(restored_url, like=before) == before
    assert len(before["payment_p2022_05"][0]) == 6
    indexed = await _fetch(restored_url, INDEXED)
    assert [row[0] for row in indexed] == [1, 2, 3, 4, 5, 9]
    assert "'lighthous' 'paper'" in indexed[0][1]


async def test_adopting_again_says_so_and_changes_nothing(restored_url: str) -> None:
    await _adopt(restored_url)
    before = await checksums(restored_url)
    head = migrate.head_revision()
    assert await _adopt(restored_url) == (
        0,
        f"adopted already: the schema is at revision {head}\n",
        "",
    )
    assert await checksums(restored_url) == before


async def test_an_adoption_that_was_cut_short_is_completed(restored_url: str) -> None:
    await _adopt(restored_url)
    await _execute(restored_url, "DELETE FROM film_fts WHERE film_id > 2")
    code, out, _ = await _adopt(restored_url)
    assert (code, out.split("; ")[1]) == (0, "6 films indexed for search\n")
    assert len(await _fetch(restored_url, INDEXED)) == 6


async def test_an_adopted_database_goes_back_and_forth(restored_url: str) -> None:
    before = await checksums(restored_url)
    await _adopt(restored_url)
    await migrate.downgrade(restored_url, "0001")
    back = await checksums(restored_url)
    assert back.keys() - before.keys() == {"alembic_version"}
    assert {name: back[name] for name in before} == before
    code, out, _ = await _adopt(restored_url)
    assert (code, out.split("; ")[0]) == (
        0,
        f"adopted already: upgraded from revision 0001 to {migrate.head_revision()}",
    )
    assert await checksums(restored_url, like=before) == before


async def test_an_adopted_database_reads_and_writes_like_ours(restored_url: str) -> None:
    await _adopt(restored_url)
    database = Database(restored_url)
    try:
        film = await database.read.first(select(*Film.__table__.columns).where(Film.film_id == 9))
        assert film is not None
        assert (film.title, film.rating, film.release_year) == ("MOON FERRY", "PG-13", 2155)
        assert (film.create_time, film.streaming_available, film.revision) == (None, False, 1)
        async with database.write() as write:
            await write.execute(
                update(Film).where(Film.film_id == 9).values(title="SUN FERRY", revision=2)
            )
            added = await write.execute(
                insert(Film).values(
                    title="X", language_id=1, rental_rate=Decimal(1), replacement_cost=Decimal(1)
                )
            )
            assert added.inserted_primary_key == (10,)
    finally:
        await database.close()


async def test_the_same_dump_is_all_there_after_adoption(restored_url: str) -> None:
    await _adopt(restored_url)
    before = await checksums(restored_url)
    out, err = io.StringIO(), io.StringIO()
    assert await import_pagila(restored_url, SMALL_DUMP, out=out, err=err) == 0
    assert out.getvalue().splitlines()[-1].startswith("nothing is new")
    assert await checksums(restored_url) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("DROP TABLE rental CASCADE", "table rental missing"),
        ("ALTER TABLE city DROP COLUMN city", "column city.city missing"),
        (
            "DROP TABLE inventory; ALTER TABLE store DROP COLUMN address_id",
            "table inventory, column store.address_id missing",
        ),
        ("CREATE TABLE app_user (x int)", "already holds table app_user,"),
        ("CREATE TABLE film_fts (x int)", "already holds table film_fts,"),
        ("ALTER TABLE film ADD revision int", "already holds column film.revision,"),
        (
            "CREATE TABLE alembic_version AS SELECT '5f3c2a' AS version_num",
            "at revision '5f3c2a', which is none of this program's",
        ),
    ],
)
async def test_what_cannot_be_adopted_is_said_and_left_as_it_was(
    restored_url: str, change: str, message: str
) -> None:
    await _execute(restored_url, change)
    before = await checksums(restored_url)
    code, out, err = await _adopt(restored_url)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: ")
    assert message in err
    assert await checksums(restored_url) == before


async def test_an_adoption_that_the_database_refuses_leaves_no_revision(restored_url: str) -> None:
    # An index of the name that the migration will give to its own: found only on the way.
    await _execute(restored_url, "CREATE INDEX idx_film_title_bytes ON film (title)")
    before = await checksums(restored_url)
    code, out, err = await _adopt(restored_url)
    assert (code, out) == (1, "")
    assert "idx_film_title_bytes" in err
    assert await checksums(restored_url) == before


async def test_two_adoptions_at_once_both_end_well(restored_url: str) -> None:
    before = await checksums(restored_url)
    both = await asyncio.gather(_adopt(restored_url), _adopt(restored_url))
    assert [(code, err) for code, _, err in both] == [(0, ""), (0, "")]
    assert await migrate.current_revision(restored_url) == migrate.head_revision()
    assert await checksums(restored_url, like=before) == before


async def test_an_empty_database_is_not_adopted(postgresql_url: str) -> None:
    code, out, err = await _adopt(postgresql_url)
    assert (code, out) == (1, "")
    assert "holds none of Pagila's tables" in err
    assert await checksums(postgresql_url) == {}


def test_sqlite_is_not_adopted(tmp_path: Path) -> None:
    code, out, err = asyncio.run(_adopt(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}"))
    assert (code, out) == (1, "")
    assert "only a PostgreSQL database can be adopted" in err
    assert list(tmp_path.iterdir()) == []


async def test_a_database_of_our_own_needs_no_adoption(postgresql_url: str) -> None:
    await migrate.upgrade(postgresql_url)
    code, out, _ = await _adopt(postgresql_url)
    assert (code, out[:15]) == (0, "adopted already")


@needs_real_pagila
async def test_the_real_pagila_is_adopted_without_touching_a_row(postgresql_url: str) -> None:
    await restore(postgresql_url, REAL_SCHEMA, REAL_DUMP)
    before = await checksums(postgresql_url)
    assert before.keys() >= TABLES.keys() - {"payment"}
    code, out, err = await _adopt(postgresql_url)
    assert (code, err) == (0, "")
    assert out.endswith("; 1000 films indexed for search\n")
    assert await checksums(postgresql_url, like=before) == before
    for name, count in REAL_COUNTS.items():
        assert await _fetch(postgresql_url, f"SELECT count(*) FROM {name}") == [(count,)]
    await migrate.downgrade(postgresql_url, "0001")
    assert await checksums(postgresql_url, like=before) == before
