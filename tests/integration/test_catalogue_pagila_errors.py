"""Imports that fail: one clear line, and the database as it was."""

import asyncio
import gzip
import re
from pathlib import Path

import pytest
from sqlalchemy import insert

from server.catalogue.adoption import holds_pagila
from server.catalogue.pagila import import_dump
from server.catalogue.pagila_rows import survey_dump
from server.catalogue.pagila_tables import TABLES
from server.database import migrate
from tests.support.pagila import (
    SMALL_DUMP,
    SMALL_SCHEMA,
    checksums,
    restore,
)
from tests.support.pagila_import import (
    changed_dump,
    films_indexed_under,
    is_untouched,
    line_of,
    opened,
    pagila_content,
    row_counts,
    run_import,
)

BROKEN = {
    "not a number": ("2012\t1", "20x2\t1", "1\tPAPER", "film.release_year: '20x2' is not an"),
    "unknown rating": ("\tNC-17\t", "\tNC-18\t", "3\tCAF", "film.rating: 'NC-18' is none of G"),
    "too few values": ("7\tKIM\tBIRD\t", "7\tKIM\t", "7\tKIM", "3 values where table actor has 4"),
    "year out of range": ("\t2155\t", "\t2156\t", "9\tMOON", "film: .*release_year"),
    "reference to nothing": ("3\t9\t1\t", "3\t8\t1\t", "3\t8\t1", "inventory: .*foreign key"),
    "key used twice": ("2\tBO\t", "1\tBO\t", "1\tBO", "actor: .*unique"),
    "unique value twice": (
        "2\t1\t2\t2022",
        "2\t0\t2\t2022",
        "2\t0\t2\t2022",
        "store: .*unique",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_dump_names_its_line_and_changes_nothing(
    empty_database_url: str, tmp_path: Path, what: str
) -> None:
    old, new, beginning, message = BROKEN[what]
    file = changed_dump(tmp_path, old, new)
    await migrate.upgrade(empty_database_url)
    async with opened(empty_database_url) as database, database.write() as write:
        await write.execute(insert(TABLES["language"]).values(language_id=99, name="Klingon"))
    before = await pagila_content(empty_database_url)

    code, out, err = await run_import(empty_database_url, file)

    assert (code, out) == (1, "")
    assert re.fullmatch(
        f"error: {re.escape(str(file))}: line {line_of(file, beginning)}: {message}.*\n",
        err,
        re.IGNORECASE,
    )
    assert await pagila_content(empty_database_url) == before
    assert await films_indexed_under(empty_database_url, "moon") == []
    assert (await run_import(empty_database_url))[0] == 0


@pytest.mark.parametrize("kept", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("packed", [False, True])
async def test_a_file_cut_off_does_not_touch_the_database(
    empty_database_url: str, tmp_path: Path, kept: float, packed: bool
) -> None:
    content = SMALL_DUMP.read_bytes()
    content = gzip.compress(content) if packed else content
    file = tmp_path / "cut.sql"
    file.write_bytes(content[: int(len(content) * kept)])
    code, out, err = await run_import(empty_database_url, file)
    assert (code, out) == (1, "")
    assert re.fullmatch(f"error: {re.escape(str(file))}: line \\d+: .*\n", err)
    assert await is_untouched(empty_database_url)


async def test_a_row_with_other_values_stops_the_import(
    empty_database_url: str, tmp_path: Path
) -> None:
    await run_import(empty_database_url)
    before = await pagila_content(empty_database_url)
    file = changed_dump(tmp_path, "PAPER LIGHTHOUSE", "STONE LIGHTHOUSE")
    file.write_text(
        file.read_text().replace("7\tKIM", "8\tNEW\tHAND\t2022-02-15 09:34:33+00\n7\tKIM")
    )
    code, out, err = await run_import(empty_database_url, file)
    assert (code, out) == (1, "")
    assert err == (
        f"error: {file}: line {line_of(file, '1' + chr(9) + 'STONE')}: film 1 is in the database"
        " already with another title; import into an empty database\n"
    )
    assert await pagila_content(empty_database_url) == before


async def test_an_import_that_is_cancelled_leaves_nothing(empty_database_url: str) -> None:
    await migrate.upgrade(empty_database_url)
    survey = survey_dump(SMALL_DUMP)

    def cancel_midway(done: int, _total: int) -> None:
        if done > 20:
            task.cancel()

    async with opened(empty_database_url) as database:
        task = asyncio.create_task(import_dump(database, survey, cancel_midway))
        with pytest.raises(asyncio.CancelledError):
            await task
    assert set((await row_counts(empty_database_url)).values()) == {0}
    assert (await run_import(empty_database_url))[0] == 0


@pytest.mark.parametrize("name", ["missing.sql", "."])
async def test_a_file_that_cannot_be_read_is_named(
    empty_database_url: str, tmp_path: Path, name: str
) -> None:
    code, out, err = await run_import(empty_database_url, tmp_path / name)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"error: {tmp_path / name}: ")
    assert await is_untouched(empty_database_url)


async def test_a_restored_pagila_is_not_imported_into_before_it_is_adopted(
    postgresql_url: str,
) -> None:
    await restore(postgresql_url, SMALL_SCHEMA, SMALL_DUMP)
    before = await checksums(postgresql_url)
    code, out, err = await run_import(postgresql_url)
    assert (code, out) == (1, "")
    assert "run `interview-server adopt` first" in err
    assert await checksums(postgresql_url) == before
    async with opened(postgresql_url) as database:
        assert await holds_pagila(database)


async def test_a_database_that_is_away_gives_one_line() -> None:
    url = "postgresql+asyncpg://someone:hidden-word@127.0.0.1:1/nowhere"
    code, out, err = await run_import(url)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: the database cannot be reached")
    assert "hidden-word" not in err
