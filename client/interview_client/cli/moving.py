"""Commands that move films out and in, as JSON lines."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Annotated, TypeVar
from uuid import UUID, uuid4

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from interview_client.catalogue import Catalogue
from interview_client.errors import InterviewError, error_of_status
from interview_client.film_import import MOST_FILMS
from interview_client.messages import (
    FilmImport,
    FilmImportState,
    FilmView,
    ImportConflictPolicy,
    ImportMode,
)

from .connection import Connection
from .failures import FAILED, USAGE, Failure
from .files import written
from .film_lines import BadLine, Source
from .films import films
from .options import Config, Deleted, Filter, Json, Target, ValidateOnly
from .output import Column, Output, note

MODES = {str(mode.name).lower().replace("_", "-"): mode for mode in ImportMode if mode}
POLICIES = {str(policy.name).lower(): policy for policy in ImportConflictPolicy if policy}
T = TypeVar("T")

_IMPORT: tuple[Column[FilmImport], ...] = (
    Column("import", lambda one: one.name),
    Column("state", lambda one: (FilmImportState(one.state).name or "").lower()),
    Column("created", lambda one: str(one.created_count)),
    Column("updated", lambda one: str(one.updated_count)),
    Column("left as they were", lambda one: str(one.skipped_count)),
    Column("failed", lambda one: str(one.failed_count)),
    Column("seconds", lambda one: f"{one.elapsed.total_seconds():.1f}" if one.elapsed else ""),
)

Place = Annotated[str, typer.Argument(metavar="FILE", help="JSON lines; - for the pipe.")]


@films.command("export")
def export_films(  # the options of the command
    file: Place,
    condition: Filter = "",
    deleted: Deleted = False,
    basic: Annotated[
        bool, typer.Option("--basic", help="Without descriptions and actors.")
    ] = False,
    target: Target = "",
    config: Config = None,
) -> None:
    """Write all films of one moment, one in JSON per line; a file is replaced at the end."""
    connection = Connection(target, config)
    view = FilmView.BASIC if basic else FilmView.FULL

    async def run() -> None:
        async with connection.client() as client:
            calls = client.catalogue
            total = await _count(calls, condition, deleted=deleted)
            export = calls.export_films(filter=condition, view=view, show_deleted=deleted)
            with written(file) as write, _bar("films", total) as advance:
                async with export:
                    async for film in export:
                        write(film.to_json() + "\n")
                        advance(1)
        note(f"wrote {export.exported_count} films of revision {export.snapshot_revision}")
        note(f"changes since: interview films watch --since {export.watch_cursor}")

    asyncio.run(run())


@films.command("import")
def import_films(  # noqa: PLR0913, PLR0917  # the options of the command
    file: Place,
    mode: Annotated[
        str, typer.Option("--mode", help=f"{', '.join(MODES)}: what a bad film does to others.")
    ] = "per-batch",
    on_conflict: Annotated[
        str,
        typer.Option(
            "--on-conflict", help=f"{', '.join(POLICIES)}: for films whose name is there already."
        ),
    ] = "fail",
    import_id: Annotated[
        str, typer.Option("--import-id", metavar="UUID", help="Go on with an import.")
    ] = "",
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=MOST_FILMS, help="Films stored together.")
    ] = MOST_FILMS,
    validate_only: ValidateOnly = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> int:
    """Store films of JSON lines, as export writes them; one without a name gets a new one."""
    connection, output = Connection(target, config), Output(json=json)
    chosen = _choice("--mode", MODES, mode), _choice("--on-conflict", POLICIES, on_conflict)
    name = _import_id(import_id)
    source = Source(file)

    async def run() -> FilmImport:
        async with connection.client() as client:
            with source.opened(), _bar("bytes", source.size) as advance:
                try:
                    async with aclosing(source.films(advance)) as sent:
                        return await client.catalogue.import_films(
                            sent,
                            mode=chosen[0],
                            conflict_policy=chosen[1],
                            import_id=name,
                            validate_only=validate_only,
                            batch_size=batch_size,
                            on_progress=source.sent,
                        )
                except BadLine as error:
                    raise Failure(f"{error}; mend it and go on with: --import-id {name}") from error
                except InterviewError as error:
                    raise _stopped(error, name, connection) from error

    try:
        done = asyncio.run(run())
    except _Stopped as stopped:
        _show(stopped.film_import, source, output)
        raise
    _show(done, source, output)
    return FAILED if done.failed_count else 0


class _Stopped(Failure):
    """An import that could not be done, and how far it is."""

    def __init__(self, message: str, exit_code: int, film_import: FilmImport | None) -> None:
        super().__init__(message, exit_code)
        self.film_import = film_import


def _stopped(error: InterviewError, name: str, connection: Connection) -> _Stopped:
    failure = connection.explained(error)
    told = error.film_import
    more = ""
    if told is not None and told.committed_batch_number:
        more = f"; {told.committed_batch_number} batches are stored, go on with: --import-id {name}"
    return _Stopped(f"{failure}{more}", failure.exit_code, told)


def _show(done: FilmImport | None, source: Source, output: Output) -> None:
    if done is None:
        return
    output.details(done, _IMPORT)
    for failed in done.failures:
        line = source.line_of(failed.batch_number, failed.index)
        what = error_of_status(failed.status) if failed.status else "cannot be taken"
        batch = f"film {failed.index + 1} of batch {failed.batch_number}"
        note(f"{f'line {line}' if line else batch}: {_reason(what)}")
    if (rest := done.failed_count - len(done.failures)) > 0:
        note(f"and {rest} more")


def _reason(what: InterviewError | str) -> str:
    if isinstance(what, str):
        return what
    # The line says where "batch.films[1]." is.
    fields = "; ".join(
        f"{one.field.rpartition('].')[2]}: {one.description}" for one in what.field_violations
    )
    return f"{fields or what.message} ({what.reason or what.code.name})"


class Advance:
    """Moves a bar of progress, where there is one."""

    def __init__(self, progress: Progress | None, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def __call__(self, count: int) -> None:
        if self._progress is not None:
            self._progress.advance(self._task, count)


@contextmanager
def _bar(unit: str, total: int | None) -> Iterator[Advance]:
    """Show a bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield Advance(None, TaskID(0))
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as shown:
        yield Advance(shown, shown.add_task(unit, total=total))


async def _count(calls: Catalogue, condition: str, *, deleted: bool) -> int | None:
    """Return how many films there are, where a bar wants to know."""
    if not sys.stderr.isatty():
        return None
    pages = calls.list_films(
        filter=condition, show_deleted=deleted, page_size=1, return_total_size=True
    ).pages()
    return (await anext(pages)).total_size


def _choice(option: str, choices: Mapping[str, T], text: str) -> T:
    choice = choices.get(text.strip().lower().replace("_", "-"))
    if choice is None:
        raise Failure(f"{option} must be one of {', '.join(choices)}, not {text}", USAGE)
    return choice


def _import_id(text: str) -> str:
    try:
        return str(UUID(text.removeprefix("filmImports/"))) if text else str(uuid4())
    except ValueError as error:
        raise Failure(f"--import-id must be a UUID, not {text}", USAGE) from error
