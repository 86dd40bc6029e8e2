"""Migrations: they build what the models say, on both databases, and lose nothing."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

import server.agent.models
import server.auth.models
import server.catalogue.models
import server.catalogue.search_models
import server.rentals.models  # noqa: F401  # the five imports fill Base.metadata
from server.database import migrate
from server.database.base import Base
from server.database.engine import Database

_EXPRESSIONS = tuple(
    f"idx_film_order_{field}"
    for field in ("release_year", "length_minutes", "rating", "create_time", "delete_time")
)


def _include(_object: object, name: str | None, kind: str, *_rest: object) -> bool:
    # The search index has another shape on each database and no model; of an index by
    # bytes the collation is not reflected, so it is looked at on its own below. Indexes of
    # expressions have no model: the plans of the lists that they serve are looked at.
    if kind == "index":
        return not (name or "").endswith(("_bytes", *_EXPRESSIONS))
    return not (kind == "table" and (name or "").startswith(("film_fts", "alembic_version")))


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(
        connection, opts={"include_object": _include, "compare_type": True}
    )
    return list(compare_metadata(context, Base.metadata))


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
async def test_migrations_build_what_the_models_say(database_url: str) -> None:
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        differences = await connection.run_sync(_differences)
    await engine.dispose()
    assert differences == []


async def test_lists_have_indexes_in_their_order(postgresql_url: str) -> None:
    await migrate.upgrade(postgresql_url)
    database = Database(postgresql_url)
    rows = await database.read.all(
        text(
            "SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE '%!_bytes' ESCAPE '!'"
        )
    )
    await database.close()
    columns = {row.indexname: row.indexdef.partition("btree ")[2] for row in rows}
    assert columns == {
        "idx_app_user_email_bytes": '(email COLLATE "C")',
        "idx_film_title_bytes": '(title COLLATE "C", film_id)',
    }


async def test_four_processes_may_migrate_at_once(empty_database_url: str) -> None:
    await asyncio.gather(*(migrate.upgrade(empty_database_url) for _ in range(4)))
    assert await migrate.current_revision(empty_database_url) == migrate.head_revision()


async def test_down_to_pagila_and_up_again_keeps_the_films(sample_database_url: str) -> None:
    before = await _films(sample_database_url)
    assert len(before) > 250
    await migrate.downgrade(sample_database_url, "0001")
    assert await _films(sample_database_url) == before
    await migrate.upgrade(sample_database_url)
    assert await _films(sample_database_url) == before
    assert await migrate.current_revision(sample_database_url) == migrate.head_revision()


async def test_down_to_nothing_leaves_no_table(database_url: str) -> None:
    await migrate.downgrade(database_url, "base")
    assert await migrate.current_revision(database_url) is None
    await migrate.upgrade(database_url)
    assert await _films(database_url) == []


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "migrations"
    shutil.copytree(migrate.MIGRATIONS, broken)
    file = broken / "versions" / "0002_interview.py"
    failing = "raise OSError('the disk is full')\n"
    file.write_text(file.read_text().replace("_create_search_index()\n", failing, 1))
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "MIGRATIONS", broken)
        with pytest.raises(OSError, match="disk is full"):
            await migrate.upgrade(empty_database_url)
    await migrate.upgrade(empty_database_url)
    assert await migrate.current_revision(empty_database_url) == migrate.head_revision()


async def _films(url: str) -> list[tuple[int, str]]:
    database = Database(make_url(url))
    try:
        rows = await database.read.all(text("SELECT film_id, title FROM film ORDER BY film_id"))
        return [(row.film_id, row.title) for row in rows]
    finally:
        await database.close()
