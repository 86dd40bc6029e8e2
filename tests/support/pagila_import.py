"""Run an import and look at what it left, by whatever database."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from server.catalogue.commands import import_pagila
from server.catalogue.pagila_tables import OWN_COLUMNS, TABLES
from server.catalogue.search import index_terms
from server.database import migrate
from server.database.engine import Database
from tests.support.pagila import (
    SMALL_DUMP,
)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()


async def run_import(url: str, file: Path = SMALL_DUMP) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = await import_pagila(url, file, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


async def row_counts(url: str) -> dict[str, int]:
    async with opened(url) as database:
        return {
            name: (await database.read.all(select(func.count()).select_from(table)))[0][0]
            for name, table in TABLES.items()
        }


async def pagila_content(url: str) -> dict[str, list[Any]]:
    """Return Pagila's columns of every row, padding taken off."""
    async with opened(url) as database:
        content: dict[str, list[Any]] = {}
        for name, table in TABLES.items():
            own = OWN_COLUMNS.get(name, frozenset())
            columns = [column for column in table.columns if column.name not in own]
            rows = await database.read.all(select(*columns).order_by(*table.primary_key))
            content[name] = [
                tuple(
                    v.rstrip(" ") if name == "language" and isinstance(v, str) else v for v in row
                )
                for row in rows
            ]
        return content


async def films_indexed_under(url: str, words: str) -> list[int]:
    """Return the films whose title or description has every word, by the index alone."""
    terms = index_terms(words)
    async with opened(url) as database:
        if database.is_sqlite:
            match = " AND ".join(f'"{term}"' for term in terms)
            statement = text("SELECT rowid FROM film_fts WHERE film_fts MATCH :match ORDER BY 1")
        else:
            match = " & ".join(f"'{term}'" for term in terms)
            statement = text(
                "SELECT film_id FROM film_fts"
                " WHERE (title || description) @@ CAST(:match AS tsquery) ORDER BY 1"
            )
        return [row[0] for row in await database.read.all(statement, {"match": match})]


async def is_untouched(url: str) -> bool:
    if is_sqlite(url):
        return not file_of(url).exists()  # a test may wait for its disk
    return await migrate.current_revision(url) is None


def is_sqlite(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite"


def file_of(url: str) -> Path:
    return Path(make_url(url).database or "")


def changed_dump(folder: Path, old: str, new: str) -> Path:
    dump = SMALL_DUMP.read_text()
    assert old in dump
    file = folder / "broken.sql"
    file.write_text(dump.replace(old, new, 1))
    return file


def line_of(file: Path, beginning: str) -> int:
    lines = file.read_text().split("\n")
    return next(n for n, line in enumerate(lines, start=1) if line.startswith(beginning))
