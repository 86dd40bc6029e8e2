"""The SQL of changing films: constant statements, built once.

`owner` is a film's number.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    bindparam,
    column,
    delete,
    func,
    insert,
    select,
    table,
    text,
    update,
)

from server.catalogue.changes import ResourceKind
from server.catalogue.models import (
    Actor,
    CatalogueChange,
    CatalogueState,
    Category,
    Film,
    FilmActor,
    FilmCategory,
    Language,
)
from server.database.dialect import in_list
from server.database.names import named
from server.database.types import IntegerList, UtcDateTime

_OWNER: Final = bindparam("owner", type_=Integer)
_LIMIT: Final = bindparam("limit", type_=Integer)

ADD_FILM = named("films.add", insert(Film))
WRITTEN: Final = (
    "title",
    "description",
    "release_year",
    "language_id",
    "original_language_id",
    "rental_duration",
    "rental_rate",
    "length",
    "replacement_cost",
    "rating",
    "special_features",
    "streaming_available",
    "create_time",
    "last_update",
    "revision",
    "delete_time",
    "purge_time",
)
"""Columns of a film that changes set, each to the parameter `new_...`."""
UPDATE_FILM = named(
    "films.update",
    update(Film)
    .where(
        Film.film_id == _OWNER,
        Film.revision == bindparam("seen_revision", type_=BigInteger),
    )
    .values(
        {name: bindparam(f"new_{name}", type_=Film.__table__.c[name].type) for name in WRITTEN}
    ),
)
NUMBER_USED = named(
    "films.number_used",
    update(CatalogueState).where(CatalogueState.last_film < _OWNER).values(last_film=_OWNER),
)
"""SQLite alone: no number below is given to a new film."""

ADD_CATEGORY = named("film_categories.add", insert(FilmCategory))
ADD_ACTOR = named("film_actors.add", insert(FilmActor))
REMOVE_CATEGORY = named(
    "film_categories.remove",
    delete(FilmCategory).where(
        FilmCategory.film_id == _OWNER,
        FilmCategory.category_id == bindparam("unwanted", type_=Integer),
    ),
)
REMOVE_ACTOR = named(
    "film_actors.remove",
    delete(FilmActor).where(
        FilmActor.film_id == _OWNER,
        FilmActor.actor_id == bindparam("unwanted", type_=Integer),
    ),
)


def _known(name: str, key: ColumnElement[int]) -> Select[int]:
    numbers = bindparam("numbers", type_=IntegerList)
    return named(f"{name}.known", select(key).where(in_list(key, numbers)))


KNOWN: Final = {
    "languages": _known("languages", Language.__table__.c.language_id),
    "categories": _known("categories", Category.__table__.c.category_id),
    "actors": _known("actors", Actor.__table__.c.actor_id),
}
"""Which of some numbers there are."""

# The tables belong to the rental shop; nothing more of them is known here.
_COPY = table("inventory", column("inventory_id", Integer), column("film_id", Integer))
_RENTAL = table("rental", column("inventory_id", Integer), column("return_date", UtcDateTime()))
USES = named(
    "films.uses",
    select(
        select(func.count())
        .select_from(_COPY)
        .where(_COPY.c.film_id == _OWNER)
        .scalar_subquery()
        .label("copies"),
        select(func.count())
        .select_from(_RENTAL.join(_COPY, _COPY.c.inventory_id == _RENTAL.c.inventory_id))
        .where(_COPY.c.film_id == _OWNER, _RENTAL.c.return_date.is_(None))
        .scalar_subquery()
        .label("rentals"),
    ),
)

_CHANGES_SINCE = (
    CatalogueChange.kind == ResourceKind.FILM.value,
    CatalogueChange.number == _OWNER,
    CatalogueChange.revision > bindparam("seen_revision", type_=BigInteger),
)
FIRST_SINCE = named(
    "catalogue_changes.first_since",
    select(CatalogueChange.previous)
    .where(*_CHANGES_SINCE)
    .order_by(CatalogueChange.revision)
    .limit(1),
)
FIELDS_SINCE = named(
    "catalogue_changes.fields_since",
    select(CatalogueChange.changed_fields).where(*_CHANGES_SINCE).distinct(),
)

_WITHOUT_COPIES = ~(
    select(_COPY.c.inventory_id).where(_COPY.c.film_id == Film.film_id).correlate(Film).exists()
)
DUE = named(
    "films.due",
    select(Film.film_id)
    .where(Film.purge_time <= bindparam("end", type_=Film.purge_time.type), _WITHOUT_COPIES)
    .order_by(Film.purge_time, Film.film_id)
    .limit(_LIMIT),
)
"""Deleted films whose time is over; those of which there are copies are passed by."""


FORGET_FILMS: Final = tuple(
    named(
        f"{name}.purge",
        delete(table(name, column("film_id", Integer))).where(
            in_list(column("film_id", Integer), bindparam("numbers", type_=IntegerList))
        ),
    )
    for name in ("film_category", "film_actor", "film")
)
UNINDEX: Final = {
    is_sqlite: named(
        "films.unindex",
        text(f"DELETE FROM film_fts WHERE {key} = :owner"),  # noqa: S608  # constant parts
    )
    for is_sqlite, key in ((True, "rowid"), (False, "film_id"))
}
