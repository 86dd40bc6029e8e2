"""Filters as SQL that finds the same rows on SQLite and on PostgreSQL.

Strings compare by the bytes of their UTF-8 form, which is the order of code points: SQLite
does so by itself, PostgreSQL when told by COLLATE "C". LIKE is used on lower-cased text
only, since SQLite's ignores the case of A-Z and PostgreSQL's does not.

A comparison with NULL is unknown in SQL. WHERE takes unknown for false, as it should; NOT
would keep it unknown and lose the row, so NOT is written `IS NOT TRUE`. Nothing else needs
care, and plain comparisons stay as they are for the indexes to serve.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from string import ascii_lowercase, ascii_uppercase
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    FromClause,
    Integer,
    Numeric,
    String,
    TypeDecorator,
    and_,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from server.query.filter_types import (
    And,
    Comparison,
    Contains,
    Filter,
    Has,
    In,
    Not,
    Or,
    Pattern,
    Presence,
    Search,
    Value,
)

_ASCII_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_COMPARE: Mapping[str, Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_INT64 = 2**63
Test: TypeAlias = Callable[[ColumnElement[Any]], ColumnElement[bool]]


def _unchanged(value: Value) -> Value:
    return value


@dataclass(frozen=True, slots=True)
class ScalarColumn:
    """A field in the row itself. `stored` turns a filter's value into the column's.

    An amount of money needs a column of type server.database.types.Money. `indexed` is another
    form of the field, which has an index: equal, less or greater wherever the field itself is,
    and anything in rows that have no value.
    """

    expression: ColumnElement[Any]
    stored: Callable[[Value], Value] = _unchanged
    indexed: "ScalarColumn | None" = None

    def where(self, test: Test) -> ColumnElement[bool]:
        """Return that the field's value passes the test; unknown if it has none."""
        return test(self.expression)


@dataclass(frozen=True, slots=True)
class RelatedColumn:
    """A field whose values, any number of them, stand in rows of other tables.

    `source` are those rows, a table or a join; each belongs to the row where `key`, a column
    of the filtered row, equals its `owner`.
    """

    expression: ColumnElement[Any]
    source: FromClause
    owner: ColumnElement[Any]
    key: ColumnElement[Any]
    stored: Callable[[Value], Value] = _unchanged

    def where(self, test: Test) -> ColumnElement[bool]:
        """Return that at least one of the values passes the test."""
        # Not EXISTS: SQLite would look up the other table for every row of this one.
        owners = select(self.owner).select_from(self.source).where(test(self.expression))
        return self.key.in_(owners)


@dataclass(frozen=True, slots=True)
class ElementColumn:
    """A field whose values are the elements of an array in the row itself.

    `source` unfolds the array to rows, `expression` is the element in them.
    """

    expression: ColumnElement[Any]
    source: FromClause
    stored: Callable[[Value], Value] = _unchanged

    def where(self, test: Test) -> ColumnElement[bool]:
        """Return that at least one of the elements passes the test."""
        return select(literal(1)).select_from(self.source).where(test(self.expression)).exists()


@dataclass(frozen=True, slots=True)
class FilterColumns:
    """Where each field path is found, and what a row with a search term looks like."""

    fields: Mapping[str, ScalarColumn | RelatedColumn | ElementColumn]
    has_term: Callable[[str], ColumnElement[bool]]


class by_bytes(FunctionElement[str]):  # noqa: N801  # reads as the SQL function that it is
    """A string that compares and sorts by its bytes on both databases."""

    name = "by_bytes"
    type = String()
    inherit_cache = True


@compiles(by_bytes)
def _collate(element: by_bytes, compiler: SQLCompiler, **kwargs: Any) -> str:
    argument = compiler.process(element.clauses, **kwargs)
    return f'({argument} COLLATE "C")'


@compiles(by_bytes, "sqlite")
def _collate_binary(element: by_bytes, compiler: SQLCompiler, **kwargs: Any) -> str:
    return compiler.process(element.clauses, **kwargs)


class _position(FunctionElement[int]):  # noqa: N801  # reads as the SQL function that it is
    """Where a text stands in another, counted from 1, case-sensitive; 0 if it does not."""

    name = "position"
    type = Integer()
    inherit_cache = True


@compiles(_position)
def _strpos(element: _position, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **kwargs)})"


@compiles(_position, "sqlite")
def _instr(element: _position, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"instr({compiler.process(element.clauses, **kwargs)})"


class _Amount(TypeDecorator[Decimal]):
    """A bound for a Money column, which it may be finer or larger than.

    Bound as Money itself, 2.995 would be rounded and 1000000 might not fit. SQLite compares
    whole cents with fractions of them exactly.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose NUMERIC of any precision, or SQLite's numbers."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Turn 2.99 into 299 and 2.995 into 299.5 where cents are kept."""
        if value is None or dialect.name != "sqlite":
            return value
        cents = value * 100
        whole = abs(cents) < _INT64 and cents == cents.to_integral_value()
        return int(cents) if whole else float(cents)


def compile_filter(node: Filter, columns: FilterColumns) -> ColumnElement[bool]:
    """Return the filter as a condition for WHERE.

    The condition may be unknown where it is not true: to negate it, use a Not node.
    """
    match node:
        case And(parts):
            return and_(*(compile_filter(part, columns) for part in parts))
        case Or(parts):
            return or_(*(compile_filter(part, columns) for part in parts))
        case Not(part):
            return compile_filter(part, columns).is_not(true())
        case Search(terms):
            return and_(*(columns.has_term(term) for term in terms))
        case _:
            column = columns.fields[node.field]
            condition = column.where(lambda found: _test(node, found, column.stored))
            indexed = column.indexed if isinstance(column, ScalarColumn) else None
            if indexed is None or not _has_bounds(node):
                return condition
            # Not `condition` as well: SQLite would put its value into the indexed expression.
            bounds = _test(node, indexed.expression, indexed.stored)
            return and_(bounds, column.expression.is_not(None))


def _has_bounds(node: Comparison | Has | Presence | Contains | In) -> bool:
    """Tell whether an index can lead to the rows that pass."""
    if isinstance(node, Comparison):
        return node.operator != "!=" and not isinstance(node.value, Pattern)
    return isinstance(node, In)


def _test(
    node: Comparison | Has | Presence | Contains | In,
    found: ColumnElement[Any],
    stored: Callable[[Value], Value],
) -> ColumnElement[bool]:
    match node:
        case Presence():
            return found.is_not(None)
        case Contains():
            return contains(found, str(stored(node.text)))
        case In():
            return found.in_([_bound(found, stored(value)) for value in node.values])
        case Has():
            return found == _bound(found, stored(node.value))
        case Comparison():
            if isinstance(node.value, Pattern):
                return _matches(found, node.value, str(stored(node.value.text)))
            return _compared(found, node.operator, stored(node.value))


def _compared(found: ColumnElement[Any], sign: str, value: Value) -> ColumnElement[bool]:
    left = by_bytes(found) if isinstance(value, str) and sign not in {"=", "!="} else found
    return _COMPARE[sign](left, _bound(found, value))


def _bound(found: ColumnElement[Any], value: Value) -> ColumnElement[Any]:
    """Bind so that a value outside of the column's range is no match and not an error."""
    if isinstance(value, Decimal):
        return literal(value, _Amount())
    if isinstance(value, int) and not isinstance(value, bool):
        return literal(value, BigInteger())
    return literal(value, found.type)


def contains(found: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """Return that the text is a part of the field; A-Z equal a-z."""
    # lower() of bytes changes A-Z alone on both databases; text is lowered the same way.
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    part = escaped.translate(_ASCII_LOWER)
    return func.lower(by_bytes(found)).like(f"%{part}%", escape="\\")


def _matches(found: ColumnElement[Any], pattern: Pattern, text: str) -> ColumnElement[bool]:
    if not text:
        return found.is_not(None)
    if pattern.any_before and pattern.any_after:
        return _position(found, text) > 0
    if pattern.any_before:
        return func.substr(found, func.length(found) - len(text) + 1) == text
    return _starts_with(by_bytes(found), text)


def _starts_with(found: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Return a range, which an index can serve: every string from `text` to its successor."""
    rest = text.rstrip(chr(0x10FFFF))  # the last code point has none after it
    lower = found >= text
    if not rest:
        return lower
    last = ord(rest[-1])
    successor = 0xE000 if last == 0xD7FF else last + 1  # between them: surrogates, no text
    return and_(lower, found < rest[:-1] + chr(successor))
