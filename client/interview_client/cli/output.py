"""What commands write: tables on a terminal, plain text into a pipe, JSON where asked for."""

import sys
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import betterproto2
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .failures import ReaderGone, one_line, printable

MessageT = TypeVar("MessageT", bound=betterproto2.Message)


@dataclass(frozen=True, slots=True)
class Column(Generic[MessageT]):
    """A column of a list, or a line about one thing."""

    header: str
    value: Callable[[MessageT], str]
    styled: Callable[[MessageT], Text] | None = None
    """The same for a terminal, where it is more than the value."""


class Output:
    """Writes to the terminal or the pipe that the program was started with."""

    def __init__(self, *, json: bool = False) -> None:
        self.is_json = json
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._is_terminal = self._console.is_terminal
        self._has_styles = self._is_terminal and self._console.color_system is not None

    def line(self, text: str, *, dim: bool = False) -> None:
        """Write a line, dim where the terminal can."""
        safe = printable(text)
        self._write(f"\x1b[2m{safe}\x1b[0m\n" if dim and self._has_styles else f"{safe}\n")

    def piece(self, text: str) -> None:
        """Write a part of a line at once."""
        self._write(printable(text))

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads along."""
        return self._is_terminal

    def json(self, message: betterproto2.Message) -> None:
        """Write a message in the JSON of Protocol Buffers, on one line."""
        self._write(message.to_json() + "\n")

    def _write(self, text: str) -> None:
        # Not by way of rich, which turns tabs into spaces and waits for whole lines.
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise ReaderGone from error

    async def items(
        self,
        items: AsyncIterable[MessageT],
        columns: Sequence[Column[MessageT]],
        *,
        limit: int | None = None,
    ) -> None:
        """Write a list, at most `limit` items of it."""
        count, more = 0, False
        table = _table(columns)
        async for item in items:
            if count == limit:
                more = True
                break
            count += 1
            self._item(item, columns, table)
        if table.row_count:
            self._console.print(table)
        if not count:
            note("nothing found")
        elif more and not self.is_json:
            note(f"these are the first {count}; --limit N and --all give more")

    def details(self, item: MessageT, columns: Sequence[Column[MessageT]]) -> None:
        """Write everything about one thing, a line for each column that has a value."""
        if self.is_json:
            self.json(item)
            return
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold")
        grid.add_column(overflow="fold")
        for column in columns:
            value = one_line(column.value(item))
            if value and self._is_terminal:
                grid.add_row(column.header, Text(value))
            elif value:
                self.line(f"{column.header}: {value}")
        if grid.row_count:
            self._console.print(grid)

    def _item(self, item: MessageT, columns: Sequence[Column[MessageT]], table: Table) -> None:
        if self.is_json:
            self.json(item)
            return
        if self._is_terminal:
            table.add_row(*(_cell(column, item) for column in columns))
        else:
            self.line("\t".join(one_line(column.value(item)) for column in columns))


def note(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(one_line(text) + "\n")
    sys.stderr.flush()


def page_size(limit: int | None) -> int:
    """Return how many items to ask for at a time: one beyond the limit shows that there are more.

    Pages of more than 100 make the first line late and save hardly any time.
    """
    return 100 if limit is None else min(limit + 1, 100)


def _cell(column: Column[MessageT], item: MessageT) -> Text:
    return column.styled(item) if column.styled else Text(one_line(column.value(item)))


def _table(columns: Sequence[Column[MessageT]]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.header, overflow="fold")
    return table
