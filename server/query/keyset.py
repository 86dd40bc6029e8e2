"""Orders of a list in SQL, and where a page of it starts (keyset, never OFFSET).

Each field of an order stands behind a flag for "has no value", so that rows without one
come last in ascending and first in descending order on both databases; a field that no two
rows share ends every order. Rows that do not change come exactly once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, case, or_

from server.core.paging import Key
from server.query.filter_types import OrderTerm

T = TypeVar("T")

KeyValue = str | int | None


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class OrderField(Generic[T]):
    """How a field sorts in SQL, its value in a row's object, and that value in a page token."""

    expression: ColumnElement[Any]
    value: Callable[[T], Any]
    to_key: Callable[[Any], KeyValue] = _same
    from_key: Callable[[Any], Any] = _same
    nullable: bool = False


def time_field(
    expression: ColumnElement[Any], value: Callable[[T], datetime | None], *, nullable: bool = False
) -> OrderField[T]:
    """Return a field that holds a moment."""
    return OrderField(expression, value, datetime.isoformat, datetime.fromisoformat, nullable)


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of the ORDER BY, and its value for the row before the page."""

    expression: ColumnElement[Any]
    descending: bool
    after: Any = None


class KeysetOrder(Generic[T]):
    """An order by some fields and then by one that no two rows share."""

    def __init__(
        self, fields: Mapping[str, OrderField[T]], terms: Sequence[OrderTerm], *, last: str
    ) -> None:
        named = [(fields[term.field], term.descending) for term in terms]
        self._terms = [*named, (fields[last], False)]

    def clauses(self) -> list[ColumnElement[Any]]:
        """Return what stands behind ORDER BY."""
        return [
            column.expression.desc() if column.descending else column.expression.asc()
            for column in self._columns(None)
        ]

    def key(self, row: T) -> Key:
        """Return where a page after this row starts."""
        values = [(field, field.value(row)) for field, _ in self._terms]
        return tuple(None if value is None else field.to_key(value) for field, value in values)

    def after(self, key: Key) -> ColumnElement[bool]:
        """Return the condition of rows behind the key: greater in the first column that differs."""
        columns = self._columns(key)
        alternatives = []
        for position, column in enumerate(columns):
            if column.after is None:
                continue  # no value: the flag before it decides alone
            equal = [
                earlier.expression == earlier.after
                for earlier in columns[:position]
                if earlier.after is not None
            ]
            found = column.expression
            beyond = found < column.after if column.descending else found > column.after
            alternatives.append(and_(*equal, beyond))
        return or_(*alternatives)

    def _columns(self, key: Key | None) -> list[_Column]:
        columns: list[_Column] = []
        for position, (field, descending) in enumerate(self._terms):
            stored = None if key is None else key[position]
            value = None if stored is None else field.from_key(stored)
            if field.nullable:
                flag = case((field.expression.is_(None), 1), else_=0)
                columns.append(_Column(flag, descending, int(stored is None)))
            columns.append(_Column(field.expression, descending, value))
        return columns
