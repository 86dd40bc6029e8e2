"""Commands that follow the changes of the catalogue, and look at those that were."""

import asyncio
import re
from collections.abc import Callable
from typing import Annotated

import typer

from interview_client.messages import (
    CatalogueResource,
    Change,
    ChangeType,
    Checkpoint,
    ResourceKind,
    SnapshotEnd,
    SnapshotItem,
    WatchCatalogueResponse,
)
from interview_client.names import resource_name
from interview_client.watch import CatalogueWatch, SnapshotBegun, WatchEvent

from .connection import Connection
from .failures import USAGE, Failure, one_line
from .films import films
from .filters import all_of, quoted
from .lists import show_list
from .options import ChangeFilter, ChangeOrder, Config, Everything, Json, Limit, Target
from .output import Column, Output, note, page_size

KINDS = {str(kind.name).lower(): kind for kind in ResourceKind if kind}

_FILM_NAME = re.compile(r"films/[1-9][0-9]*")

Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", help=f"One of {', '.join(KINDS)}; may be given repeatedly."),
]


def _type(change: Change) -> str:
    return (ChangeType(change.change_type).name or "").lower()


def _time(change: Change) -> str:
    return f"{change.change_time:%Y-%m-%d %H:%M:%SZ}" if change.change_time else ""


def _called(resource: CatalogueResource | None) -> str:
    """Return what people call the resource."""
    if resource is None:
        return ""
    if resource.film is not None:
        return resource.film.title
    if resource.actor is not None:
        return f"{resource.actor.given_name} {resource.actor.family_name}"
    named = resource.category or resource.language
    return named.display_name if named else ""


def _fields(change: Change) -> str:
    return ", ".join(change.changed_fields.paths) if change.changed_fields else ""


_CHANGE: tuple[Column[Change], ...] = (
    Column("revision", lambda change: str(change.revision)),
    Column("time", _time),
    Column("change", _type),
    Column("resource", lambda change: change.resource_name),
    Column("called", lambda change: _called(change.resource or change.previous)),
    Column("fields", _fields),
    Column("by", lambda change: change.principal),
)
_WIDTHS = (9, 20, 9, 16, 32, 32, 0)
"""Of the columns above on a terminal, where lines come one by one; the last has what is left."""


@films.command()
def changes(  # the options of the command
    film: Annotated[str, typer.Argument(metavar="[FILM]", help="Only those of this one.")] = "",
    condition: ChangeFilter = "",
    order_by: ChangeOrder = "revision desc",
    limit: Limit = 20,
    everything: Everything = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """List changes of the catalogue, the newest first; they are kept for some days."""
    one = f"resource_name = {quoted(_film_named(film))}" if film else ""
    text, most = all_of([one], condition), None if everything else limit
    show_list(
        Connection(target, config),
        lambda catalogue: catalogue.list_changes(
            filter=text, order_by=order_by, page_size=page_size(most)
        ),
        _CHANGE,
        Output(json=json),
        most,
    )


@films.command()
def watch(  # the options of the command
    kind: Kinds = None,
    condition: Annotated[
        str, typer.Option("--filter", help='Only films that meet it, as "rating = PG".')
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="CURSOR", help="Go on where a watch or export ended.")
    ] = "",
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="First everything that is there.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="End after so many changes.")
    ] = None,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Follow changes of the catalogue as they happen, a line for each; Ctrl-C ends it.

    At its end it tells a cursor, from which --since goes on.
    """
    connection, kinds = Connection(target, config), [_kind(text) for text in kind or ()]
    show = _Json(Output(json=True)) if json else _Lines(Output())

    async def run() -> None:
        async with connection.client() as client:
            following = client.catalogue.watch(
                kinds=kinds, film_filter=condition, start_cursor=since, include_snapshot=snapshot
            )
            try:
                async with following:
                    await _follow(following, show, limit)
            finally:
                if following.cursor != since:
                    note(f"go on with: interview films watch --since {following.cursor}")

    asyncio.run(run())


async def _follow(
    following: CatalogueWatch,
    show: "Callable[[CatalogueWatch, WatchEvent], None]",
    limit: int | None,
) -> None:
    count = 0
    async for event in following:
        show(following, event)
        count += isinstance(event, Change)
        if count == limit:
            return


class _Json:
    """Writes messages of the protocol, with the cursor of each."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __call__(self, following: CatalogueWatch, event: WatchEvent) -> None:
        """Write an event."""
        message = WatchCatalogueResponse(cursor=following.cursor)
        match event:
            case Change():
                message.change = event
            case Checkpoint():
                message.checkpoint = event
            case SnapshotItem():
                message.snapshot_item = event
            case SnapshotEnd():
                message.snapshot_end = event
            case SnapshotBegun(because):
                _tell(because)
                return
        self._output.json(message)


class _Lines:
    """Writes a line for each change and each thing in a snapshot."""

    def __init__(self, output: Output) -> None:
        self._output = output
        if output.is_terminal:
            self._write([column.header for column in _CHANGE])

    def __call__(self, following: CatalogueWatch, event: WatchEvent) -> None:
        """Write an event, unless it says that nothing happened."""
        match event:
            case Change():
                values = [column.value(event) for column in _CHANGE]
                if event.left_filter:
                    values[2] = "left"
                self._write(values)
            case SnapshotItem(resource):
                self._write(["", "", "there", _name(resource), _called(resource), "", ""])
            case SnapshotEnd():
                note(f"{event.item_count} there at revision {event.revision}; changes follow")
            case SnapshotBegun(because):
                _tell(because)

    def _write(self, values: list[str]) -> None:
        cells = [one_line(value) for value in values]
        if self._output.is_terminal:
            parts = [cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)]
            self._output.line("  ".join(parts).rstrip())
        else:
            self._output.line("\t".join(cells))


def _tell(because: Exception | None) -> None:
    if because is not None:
        note(f"begins anew with everything that is there: {because}")


def _name(resource: CatalogueResource | None) -> str:
    if resource is None:
        return ""
    named = resource.film or resource.category or resource.actor or resource.language
    return named.name if named else ""


def _film_named(text: str) -> str:
    name = resource_name("films", text)
    # As a filter it would only find nothing.
    if not _FILM_NAME.fullmatch(name):
        raise Failure(f"FILM must be a name like films/17, not {text}", USAGE)
    return name


def _kind(text: str) -> ResourceKind:
    kind = KINDS.get(text.strip().lower())
    if kind is None:
        raise Failure(f"--kind must be one of {', '.join(KINDS)}, not {text}", USAGE)
    return kind
