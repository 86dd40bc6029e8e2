"""Orders of a list in SQL, and where a page of it starts (keyset, never OFFSET).

Rows without a value of a field come last in ascending and first in descending order, on both
databases: either the field's expression puts something behind all values in their place, which
an index can serve, or the field stands behind a flag for "has no value". A field that no two
rows share ends every order, in the direction of the field before it. Rows that do not change
come exactly once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, case, literal, or_, tuple_

from server.core.paging import Key
from server.query.filter_types import OrderTerm

T = TypeVar("T")

KeyValue = str | int | None


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class OrderField(Generic[T]):
    """How a field sorts in SQL, its value in a row's object, and that value in a page token.

    Of a field that rows may be without, `absent` is what the expression holds for these, behind
    all values; without it the field is `nullable`.
    """

    expression: ColumnElement[Any]
    value: Callable[[T], Any]
    to_key: Callable[[Any], KeyValue] = _same
    from_key: Callable[[Any], Any] = _same
    nullable: bool = False
    absent: Any = None


def time_field(
    expression: ColumnElement[Any],
    value: Callable[[T], datetime | None],
    *,
    nullable: bool = False,
    absent: datetime | None = None,
) -> OrderField[T]:
    """Return a field that holds a moment."""
    return OrderField(
        expression, value, datetime.isoformat, datetime.fromisoformat, nullable, absent
    )


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of the ORDER BY, and its value for the row before the page."""

    expression: ColumnElement[Any]
    descending: bool
    after: Any = None

    @property
    def order(self) -> ColumnElement[Any]:
        return self.expression.desc() if self.descending else self.expression.asc()

    @property
    def bound(self) -> ColumnElement[Any]:
        return literal(self.after, self.expression.type)

    @property
    def equal(self) -> ColumnElement[bool]:
        return self.expression == self.bound

    @property
    def beyond(self) -> ColumnElement[bool]:
        found = self.expression
        return found < self.bound if self.descending else found > self.bound

    @property
    def from_here(self) -> ColumnElement[bool]:
        found = self.expression
        return found <= self.bound if self.descending else found >= self.bound


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows behind a key that are equal to it in the first columns, and their order."""

    condition: ColumnElement[bool]
    order: Sequence[ColumnElement[Any]]


class KeysetOrder(Generic[T]):
    """An order by some fields and then by one that no two rows share."""

    def __init__(
        self, fields: Mapping[str, OrderField[T]], terms: Sequence[OrderTerm], *, last: str
    ) -> None:
        named: list[tuple[OrderField[T], bool]] = []
        for term in terms:
            named.append((fields[term.field], term.descending))
            if term.field == last:  # nothing is equal behind it
                self._terms = named
                return
        self._terms = [*named, (fields[last], named[-1][1] if named else False)]

    def clauses(self) -> list[ColumnElement[Any]]:
        """Return what stands behind ORDER BY."""
        return [column.order for column in self._columns(None)]

    def key(self, row: T) -> Key:
        """Return where a page after this row starts."""
        values = [(field, field.value(row)) for field, _ in self._terms]
        return tuple(None if value is None else field.to_key(value) for field, value in values)

    def after(self, key: Key) -> ColumnElement[bool]:
        """Return the condition of rows behind the key, which starts with a bound for an index."""
        columns = self._columns(key)
        first = columns[0]
        if len(columns) == 1:
            return first.beyond
        known = all(column.after is not None for column in columns)
        if known and all(column.descending == first.descending for column in columns):
            row = tuple_(*(column.expression for column in columns))
            bounds = tuple_(*(column.bound for column in columns))
            return row < bounds if first.descending else row > bounds
        behind = or_(*(stretch.condition for stretch in self.stretches(key)))
        return behind if first.after is None else and_(first.from_here, behind)

    def stretches(self, key: Key) -> list[Stretch]:
        """Return the rows behind the key in parts, the nearest first, which lie one behind another.

        Every row of a part comes before every row of the next one.
        """
        columns = self._columns(key)
        found: list[Stretch] = []
        for position, column in enumerate(columns):
            if column.after is None:
                continue  # no value: the flag before it decides alone
            equal = [before.equal for before in columns[:position] if before.after is not None]
            order = [behind.order for behind in columns[position:]]
            found.append(Stretch(and_(*equal, column.beyond), order))
        return found[::-1]

    def _columns(self, key: Key | None) -> list[_Column]:
        columns: list[_Column] = []
        for position, (field, descending) in enumerate(self._terms):
            stored = None if key is None else key[position]
            value = field.absent if stored is None else field.from_key(stored)
            if field.nullable:
                flag = case((field.expression.is_(None), 1), else_=0)
                columns.append(_Column(flag, descending, int(stored is None)))
            columns.append(_Column(field.expression, descending, value))
        return columns
