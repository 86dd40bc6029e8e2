"""A page of a list, and where it starts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")

Key = tuple[str | int | float | None, ...]
"""The sort keys of one row; the last is the row's number."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """How many rows at most, and the keys of the row before the first (None: from the start).

    `time` is when the first page was asked for, where a filter may count from it.
    """

    size: int
    after: Key | None = None
    skip: int = 0
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows in order, and the keys after which the next page starts (None: this is the last)."""

    rows: Sequence[T]
    next_after: Key | None = None
    total_size: int | None = None


def cut_page(rows: Sequence[T], page: PageRequest, key: Callable[[T], Key]) -> Page[T]:
    """Cut the one row off that was read to know whether there are more."""
    if len(rows) <= page.size:
        return Page(rows)
    return Page(rows[: page.size], key(rows[page.size - 1]))
