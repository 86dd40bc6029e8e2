"""The SQL of changing categories and actors: constant statements, built once.

`owner` is a row's number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, cast

from sqlalchemy import (
    ColumnElement,
    Delete,
    FromClause,
    Insert,
    Integer,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from server.catalogue.changes import ResourceKind
from server.catalogue.domain import Actor, Category
from server.catalogue.models import Actor as ActorRow
from server.catalogue.models import CatalogueChange, FilmActor, FilmCategory, FilmCount
from server.catalogue.models import Category as CategoryRow
from server.catalogue.taxonomy_rules import T
from server.catalogue.taxonomy_statements import ACTORS, CATEGORIES, Listing
from server.database.names import named

HISTORY_STEPS: Final = 100
"""How many changes of a row are read to find out what changed since an etag."""

_OWNER: Final = bindparam("owner", type_=Integer)


@dataclass(frozen=True, slots=True)
class WriteStatements(Generic[T]):
    """How rows of one table are changed.

    `values` are the columns of a row, `taken` finds another row with what must be unique (None:
    nothing has to be), `films` the numbers of films that have it behind the number `after`.
    """

    table: str
    links: str
    listing: Listing[T]
    values: Callable[[T], Mapping[str, Any]]
    add: Insert
    change: Update
    remove: Delete
    uncount: Delete
    taken: Select[Any] | None
    unique_field: str
    count_films: Select[Any]
    films: Select[Any]


def _change(name: str, table: FromClause, key: str, columns: tuple[str, ...]) -> Update:
    new = {column: bindparam(f"new_{column}", type_=table.c[column].type) for column in columns}
    written = update(cast("Table", table)).where(table.c[key] == _OWNER).values(new)
    return named(f"{name}.update", written)


def _films(name: str, film: ColumnElement[int], owner: ColumnElement[int]) -> Select[Any]:
    after = bindparam("after", type_=Integer)
    found = select(film).where(owner == _OWNER, film > after).order_by(film)
    return named(f"{name}.films", found.limit(bindparam("limit", type_=Integer)))


def _count(name: str, owner: ColumnElement[int]) -> Select[Any]:
    return named(f"{name}.count_films", select(func.count()).where(owner == _OWNER))


def _uncount(kind: ResourceKind) -> Delete:
    mine = (FilmCount.kind == kind.value, FilmCount.number == _OWNER)
    return named("film_counts.remove", delete(FilmCount).where(*mine))


_CATEGORY: Final = CategoryRow.__table__
_ACTOR: Final = ActorRow.__table__

CATEGORY_WRITES: Final[WriteStatements[Category]] = WriteStatements(
    table="category",
    links="categories",
    listing=CATEGORIES,
    values=lambda row: {"name": row.name, "last_update": row.update_time},
    add=named("categories.add", insert(CategoryRow)),
    change=_change("categories", _CATEGORY, "category_id", ("name", "last_update")),
    remove=named("categories.remove", delete(CategoryRow).where(_CATEGORY.c.category_id == _OWNER)),
    uncount=_uncount(ResourceKind.CATEGORY),
    taken=named(
        "categories.taken",
        select(_CATEGORY.c.category_id)
        .where(
            _CATEGORY.c.name == bindparam("name", type_=_CATEGORY.c.name.type),
            _CATEGORY.c.category_id != _OWNER,
        )
        .order_by(_CATEGORY.c.category_id)
        .limit(1),
    ),
    unique_field="display_name",
    count_films=_count("categories", FilmCategory.__table__.c.category_id),
    films=_films(
        "categories", FilmCategory.__table__.c.film_id, FilmCategory.__table__.c.category_id
    ),
)
ACTOR_WRITES: Final[WriteStatements[Actor]] = WriteStatements(
    table="actor",
    links="actors",
    listing=ACTORS,
    values=lambda row: {
        "first_name": row.given_name,
        "last_name": row.family_name,
        "last_update": row.update_time,
    },
    add=named("actors.add", insert(ActorRow)),
    change=_change("actors", _ACTOR, "actor_id", ("first_name", "last_name", "last_update")),
    remove=named("actors.remove", delete(ActorRow).where(_ACTOR.c.actor_id == _OWNER)),
    uncount=_uncount(ResourceKind.ACTOR),
    taken=None,
    unique_field="",
    count_films=_count("actors", FilmActor.__table__.c.actor_id),
    films=_films("actors", FilmActor.__table__.c.film_id, FilmActor.__table__.c.actor_id),
)

HISTORY: Final = named(
    "catalogue_changes.history",
    select(CatalogueChange.previous, CatalogueChange.resource)
    .where(
        CatalogueChange.kind == bindparam("kind", type_=CatalogueChange.kind.type),
        CatalogueChange.number == _OWNER,
    )
    .order_by(CatalogueChange.revision.desc())
    .limit(HISTORY_STEPS),
)
