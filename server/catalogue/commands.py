"""What the command line does with films: import a dump, adopt a restored Pagila, index anew."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from asyncpg import PostgresError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from server.catalogue import adoption
from server.catalogue.loaded import films_loaded
from server.catalogue.pagila import ImportSummary, import_dump
from server.catalogue.pagila_dump import DumpError
from server.catalogue.pagila_rows import DumpSurvey, survey_dump
from server.database import migrate
from server.database.engine import Database, DatabaseOptions
from server.database.schema import SchemaRefused

_LONG = timedelta(minutes=10)
BULK_OPTIONS = DatabaseOptions(
    read_connections=1,
    write_connections=1,
    connect_timeout=timedelta(seconds=10),
    command_timeout=_LONG,
    statement_timeout=_LONG,
    lock_timeout=timedelta(seconds=30),
    tries=1,
    idle_in_transaction_timeout=_LONG,
)
"""For one caller that moves many rows and may wait, instead of many that may not."""


async def import_pagila(database_url: str, file: Path, *, out: TextIO, err: TextIO) -> int:
    """Import a dump into the database, migrating that first; return the exit code.

    A summary goes to `out`, progress (on a terminal only) and errors go to `err`. With an
    error the code is 1 and the database's rows are as they were.
    """
    started = time.monotonic()
    bar = ProgressBar(err)
    try:
        survey = await asyncio.to_thread(survey_dump, file)
        async with _database(database_url) as database:
            if await adoption.holds_pagila(database):
                raise adoption.AdoptionRefused(
                    "the database holds a restored Pagila: run `interview-server adopt` first"
                )
            await migrate.upgrade(database.url)
            summary = await import_dump(database, survey, bar.show)
    except DumpError as error:
        return _fail(err, bar, f"{file}: {error}")
    except _EXPECTED as error:
        return _fail(err, bar, _described(error))
    bar.clear()
    out.write(_summary_text(survey, summary, time.monotonic() - started))
    return 0


async def adopt(database_url: str, *, out: TextIO, err: TextIO) -> int:
    """Adopt a restored Pagila; return the exit code. Says to `out` what was done."""
    try:
        async with _database(database_url) as database:
            outcome = await adoption.adopt(database)
    except _EXPECTED as error:
        return _fail(err, None, _described(error))
    out.write(_adoption_text(outcome))
    return 0


async def reindex(database_url: str, *, out: TextIO, err: TextIO) -> int:
    """Index and count all films anew, for whoever wrote some past the service; return the code.

    It claims a revision, so that those who watch the catalogue read it anew.
    """
    try:
        async with _database(database_url) as database:
            await migrate.verify(database.url)
            async with database.write() as write:
                films = await films_loaded(write, is_sqlite=database.is_sqlite)
    except _EXPECTED as error:
        return _fail(err, None, _described(error))
    out.write(f"indexed {films} films\n")
    return 0


class ProgressBar:
    """One line that is drawn over itself on a terminal; elsewhere nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._drawn = 0

    def show(self, done: int, total: int) -> None:
        """Draw the state."""
        if not self._is_terminal:
            return
        figures = f" {done} of {total} rows"
        room = max(10, min(60, shutil.get_terminal_size().columns - len(figures) - 3))
        filled = room * done // max(total, 1)
        line = f"[{'#' * filled}{'.' * (room - filled)}]{figures}"
        self._stream.write("\r" + line.ljust(self._drawn))
        self._stream.flush()
        self._drawn = len(line)

    def clear(self) -> None:
        """Wipe the line."""
        if self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._stream.flush()
            self._drawn = 0


_EXPECTED = (adoption.AdoptionRefused, SchemaRefused, OSError, SQLAlchemyError, PostgresError)
"""Raised for what the operator can mend; anything else is a defect and shows its trace.

A refused sign-in to PostgreSQL arrives as the driver's own PostgresError.
"""


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Database]:
    database = Database(url, BULK_OPTIONS)
    try:
        yield database
    finally:
        await database.close()


def _fail(err: TextIO, bar: ProgressBar | None, message: str) -> int:
    if bar is not None:
        bar.clear()
    err.write(f"error: {message}\n")
    return 1


def _described(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, DBAPIError):
        return f"the database refused: {_first_line(error.orig)}"
    if isinstance(error, OSError | PostgresError):
        return f"the database cannot be reached: {_first_line(error)}"
    return _first_line(error)


def _first_line(error: BaseException | None) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].partition("'>: ")[2] or lines[0]


def _summary_text(survey: DumpSurvey, summary: ImportSummary, seconds: float) -> str:
    width = max(len(name) for name in ("table", *summary.tables))
    rows = [f"{'table':<{width}}  {'read':>8}  {'new':>8}"]
    rows += [
        f"{name:<{width}}  {count.read:>8}  {count.inserted:>8}"
        for name, count in summary.tables.items()
    ]
    rows += [f"{'total':<{width}}  {survey.total:>8}  {summary.inserted:>8}"]
    rows += [f"skipped table {name} ({n} rows)" for name, n in summary.skipped.items()]
    films = summary.tables["film"].inserted if "film" in summary.tables else 0
    if summary.inserted:
        rows.append(f"imported {films} films, {summary.inserted} rows in {seconds:.1f} s")
    else:
        rows.append(f"nothing is new: every row was there already ({seconds:.1f} s)")
    return "\n".join(rows) + "\n"


def _adoption_text(outcome: adoption.Adoption) -> str:
    indexed = f"; {outcome.indexed} films indexed for search" if outcome.indexed else ""
    if outcome.previous is None:
        return f"adopted: the schema is at revision {outcome.revision}{indexed}\n"
    if outcome.previous == outcome.revision:
        return f"adopted already: the schema is at revision {outcome.revision}{indexed}\n"
    return (
        f"adopted already: upgraded from revision {outcome.previous}"
        f" to {outcome.revision}{indexed}\n"
    )
