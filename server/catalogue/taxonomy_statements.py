"""The SQL of categories, actors and languages: how they are read, filtered and ordered.

Their counts of films come from `film_count`: counting anew would take too long.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
)

from server.catalogue.domain import Actor, Category, Language
from server.catalogue.models import Actor as ActorRow
from server.catalogue.models import Category as CategoryRow
from server.catalogue.models import FilmCount
from server.catalogue.models import Language as LanguageRow
from server.database.names import named
from server.query.filter_sql import FilterColumns, ScalarColumn, by_bytes, contains
from server.query.filter_types import OrderTerm
from server.query.keyset import KeysetOrder, OrderField

T = TypeVar("T")

_CATEGORY: Final = CategoryRow.__table__
_ACTOR: Final = ActorRow.__table__


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """How the rows of a table are listed and read.

    `statement` reads them all, `one` the one of `number`, `first` those behind the number `after`.
    """

    statement: Select[Any]
    one: Select[Any]
    first: Select[Any]
    read: Callable[[Row[Any]], T]
    columns: FilterColumns
    order: Mapping[str, OrderField[T]]

    def ordered(self, terms: Sequence[OrderTerm]) -> KeysetOrder[T]:
        """Return an order by some fields and then by number."""
        return KeysetOrder(self.order, terms, last="name")


def _with_films(table: FromClause, number: ColumnElement[int], kind: str) -> Select[Any]:
    counted = FilmCount.__table__.alias("counted")
    films = func.coalesce(counted.c.films, 0).label("film_count")
    # As text in the statement: a parameter of this name would stand in each caller's way.
    mine = and_(counted.c.kind == literal(kind, literal_execute=True), counted.c.number == number)
    return select(*table.c, films).select_from(table.outerjoin(counted, mine))


def _listing(
    name: str,
    statement: Select[Any],
    number: ColumnElement[int],
    read: Callable[[Row[Any]], T],
    columns: FilterColumns,
    order: Mapping[str, OrderField[T]],
) -> Listing[T]:
    first = statement.where(number > bindparam("after", type_=Integer)).order_by(number)
    return Listing(
        named(f"{name}.list", statement),
        named(f"{name}.get", statement.where(number == bindparam("number", type_=Integer))),
        named(f"{name}.list", first.limit(bindparam("limit"))),
        read,
        columns,
        order,
    )


def _category_of(row: Row[Any]) -> Category:
    return Category(row.category_id, row.name, row.film_count, row.last_update)


def _actor_of(row: Row[Any]) -> Actor:
    return Actor(row.actor_id, row.first_name, row.last_name, row.film_count, row.last_update)


def _language_of(row: Row[Any]) -> Language:
    return Language(row.language_id, row.name, row.last_update)


CATEGORIES: Final = _listing(
    "categories",
    _with_films(_CATEGORY, _CATEGORY.c.category_id, "category"),
    _CATEGORY.c.category_id,
    _category_of,
    FilterColumns(
        {
            "name": ScalarColumn(_CATEGORY.c.category_id),
            "display_name": ScalarColumn(_CATEGORY.c.name),
        },
        has_term=lambda word: contains(_CATEGORY.c.name, word),
    ),
    {
        "name": OrderField(_CATEGORY.c.category_id, lambda row: row.category_id),
        "display_name": OrderField(by_bytes(_CATEGORY.c.name), lambda row: row.name),
    },
)
ACTORS: Final = _listing(
    "actors",
    _with_films(_ACTOR, _ACTOR.c.actor_id, "actor"),
    _ACTOR.c.actor_id,
    _actor_of,
    FilterColumns(
        {
            "name": ScalarColumn(_ACTOR.c.actor_id),
            "given_name": ScalarColumn(_ACTOR.c.first_name),
            "family_name": ScalarColumn(_ACTOR.c.last_name),
        },
        has_term=lambda word: or_(
            contains(_ACTOR.c.first_name, word), contains(_ACTOR.c.last_name, word)
        ),
    ),
    {
        "name": OrderField(_ACTOR.c.actor_id, lambda row: row.actor_id),
        "given_name": OrderField(by_bytes(_ACTOR.c.first_name), lambda row: row.given_name),
        "family_name": OrderField(by_bytes(_ACTOR.c.last_name), lambda row: row.family_name),
    },
)
LANGUAGES: Final = _listing(
    "languages",
    # A restored Pagila pads the names with blanks.
    select(
        LanguageRow.language_id,
        func.rtrim(LanguageRow.name).label("name"),
        LanguageRow.last_update,
    ),
    LanguageRow.__table__.c.language_id,
    _language_of,
    FilterColumns({}, has_term=lambda word: contains(LanguageRow.__table__.c.name, word)),
    {"name": OrderField(LanguageRow.__table__.c.language_id, lambda row: row.language_id)},
)
