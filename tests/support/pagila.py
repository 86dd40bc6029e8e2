"""Pagila for tests: dumps, and restoring one into PostgreSQL as psql would.

PostgreSQL itself reads the COPY blocks here, so what it makes of them is a second opinion
on what the importer makes of them.
"""

import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import URL, make_url

HERE = Path(__file__).parent
SMALL_DUMP = HERE / "pagila_small.sql"
SMALL_SCHEMA = HERE / "pagila_small_schema.sql"
REAL = HERE.parents[2] / "shared" / "data" / "pagila"
REAL_DUMP = REAL / "pagila-data.sql.gz"
REAL_SCHEMA = REAL / "pagila-schema.sql.gz"
REAL_COUNTS = {
    "film": 1000,
    "actor": 200,
    "category": 16,
    "film_category": 2367,
    "film_actor": 5462,
    "language": 6,
    "store": 500,
    "inventory": 4581,
    "customer": 599,
    "rental": 16044,
    "payment": 16049,
    "staff": 1500,
    "address": 603,
    "city": 600,
    "country": 109,
}
SMALL_COUNTS = {
    "film": 6,
    "actor": 4,
    "category": 2,
    "film_category": 3,
    "film_actor": 4,
    "language": 3,
    "store": 2,
    "inventory": 3,
    "customer": 2,
    "rental": 3,
    "payment": 3,
    "staff": 2,
    "address": 2,
    "city": 2,
    "country": 2,
}

needs_real_pagila = pytest.mark.skipif(
    not REAL_DUMP.is_file(), reason=f"the Pagila dump is not at {REAL_DUMP}"
)

_BLOCK = re.compile(r"^COPY ([^\n]*?) \(([^\n]*)\) FROM stdin;\n(.*?)^\\\.\n", re.M | re.S)


async def connect(url: str | URL) -> "asyncpg.Connection[Any]":
    """Open a connection of the driver's own."""
    plain = make_url(url).set(drivername="postgresql")
    return await asyncpg.connect(plain.render_as_string(hide_password=False))


async def restore(url: str | URL, schema: Path, data: Path) -> None:
    """Restore a schema dump and then a data dump into an empty PostgreSQL database."""
    connection = await connect(url)
    try:
        # The roles that own the tables in a dump need not exist here.
        script = re.sub(r"^ALTER .* OWNER TO .*;$", "", _text(schema), flags=re.M)
        await connection.execute(script)
        # As pg_restore --disable-triggers: rows may come before those they refer to.
        await connection.execute("SET session_replication_role = replica")
        for table, columns, rows in _blocks(_text(data)):
            schema_name, _, name = table.replace('"', "").rpartition(".")
            await connection.copy_to_table(
                name,
                source=io.BytesIO(rows.encode()),
                columns=columns.split(", "),
                schema_name=schema_name,
                format="text",
            )
        for setval in re.findall(r"^SELECT pg_catalog.setval\(.*\);$", _text(data), flags=re.M):
            await connection.execute(setval)
    finally:
        await connection.close()


async def checksums(
    url: str | URL, like: dict[str, tuple[list[str], str]] | None = None
) -> dict[str, tuple[list[str], str]]:
    """Return each table's columns and a digest of its rows in them and where they are stored.

    With `like`, of the tables and columns that it has.
    """
    connection = await connect(url)
    try:
        wanted = {name: columns for name, (columns, _) in like.items()} if like else None
        tables = wanted or await _columns(connection)
        return {
            name: (columns, await _digest(connection, name, columns))
            for name, columns in tables.items()
        }
    finally:
        await connection.close()


async def _columns(connection: "asyncpg.Connection[Any]") -> dict[str, list[str]]:
    rows = await connection.fetch(
        "SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) AS columns FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' GROUP BY c.relname"
    )
    return {row["relname"]: row["columns"] for row in rows}


async def _digest(connection: "asyncpg.Connection[Any]", table: str, columns: list[str]) -> str:
    chosen = ", ".join(f'"{column}"' for column in columns)
    digest = await connection.fetchval(
        "SELECT md5(coalesce(string_agg(r::text, E'\\n' ORDER BY r::text), ''))"
        f' FROM (SELECT ctid, xmin, {chosen} FROM public."{table}") r'
    )
    return str(digest)


def _text(file: Path) -> str:
    content = file.read_bytes()
    return (gzip.decompress(content) if file.suffix == ".gz" else content).decode()


def _blocks(dump: str) -> Iterator[tuple[str, str, str]]:
    for match in _BLOCK.finditer(dump):
        yield match[1], match[2], match[3]
