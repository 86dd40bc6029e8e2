"""Tables of the catalogue, named and shaped as in Pagila, with a few columns of our own."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Enum,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    false,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from server.database.base import Base
from server.database.types import BigKey, Money, TextList, UtcDateTime

RATINGS = ("G", "PG", "PG-13", "R", "NC-17")
SPECIAL_FEATURES = ("Trailers", "Commentaries", "Deleted Scenes", "Behind the Scenes")


class Language(Base):
    """A language. Restored Pagila pads the name with blanks: read it through rtrim()."""

    __tablename__ = "language"

    language_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class Category(Base):
    """A category of films."""

    __tablename__ = "category"

    category_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class Actor(Base):
    """An actor."""

    __tablename__ = "actor"
    __table_args__ = (Index("idx_actor_last_name", "last_name"),)

    actor_id: Mapped[int] = mapped_column(primary_key=True)
    first_name: Mapped[str] = mapped_column(Text)
    last_name: Mapped[str] = mapped_column(Text)
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class Film(Base):
    """A film. `last_update` is its update time; `revision` that of its last change.

    `create_time` is NULL where it is not known, as in a restored Pagila; `delete_time` and
    `purge_time` are NULL where it is not deleted.
    """

    __tablename__ = "film"
    __table_args__ = (
        CheckConstraint("release_year BETWEEN 1901 AND 2155", name="release_year"),
        Index("idx_title", "title"),
        Index("idx_fk_language_id", "language_id"),
        Index("idx_fk_original_language_id", "original_language_id"),
        # Lists are ordered by bytes on both databases, whatever the database's locale.
        Index("idx_film_title_bytes", text('title COLLATE "C"'), "film_id").ddl_if(
            dialect="postgresql"
        ),
        Index("idx_film_purge_time", "purge_time"),
        # Lists in other orders: what server.catalogue.film_order sorts by. Migration 0005 makes
        # those of expressions, which are not compared with the database.
        Index("idx_film_order_rental_duration_days", "rental_duration", "film_id"),
        Index("idx_film_order_rental_rate", "rental_rate", "film_id"),
        Index("idx_film_order_replacement_cost", "replacement_cost", "film_id"),
        Index("idx_film_order_update_time", "last_update", "film_id"),
    )

    film_id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    release_year: Mapped[int | None] = mapped_column(Integer)
    language_id: Mapped[int] = mapped_column(ForeignKey("language.language_id"))
    original_language_id: Mapped[int | None] = mapped_column(ForeignKey("language.language_id"))
    rental_duration: Mapped[int] = mapped_column(SmallInteger, server_default="3")
    rental_rate: Mapped[Decimal] = mapped_column(Money(4, 2))
    length: Mapped[int | None] = mapped_column(SmallInteger)
    replacement_cost: Mapped[Decimal] = mapped_column(Money(5, 2))
    rating: Mapped[str | None] = mapped_column(
        Enum(*RATINGS, name="mpaa_rating", create_constraint=False), server_default="G"
    )
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    special_features: Mapped[list[str] | None] = mapped_column(TextList)
    streaming_available: Mapped[bool] = mapped_column(server_default=false())
    create_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revision: Mapped[int] = mapped_column(BigInteger, server_default="1")
    delete_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    purge_time: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FilmActor(Base):
    """An actor plays in a film."""

    __tablename__ = "film_actor"
    __table_args__ = (Index("idx_fk_film_id", "film_id"),)

    actor_id: Mapped[int] = mapped_column(ForeignKey("actor.actor_id"), primary_key=True)
    film_id: Mapped[int] = mapped_column(ForeignKey("film.film_id"), primary_key=True)
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class FilmCategory(Base):
    """A film is in a category."""

    __tablename__ = "film_category"
    __table_args__ = (Index("idx_film_category_category_id", "category_id", "film_id"),)

    film_id: Mapped[int] = mapped_column(ForeignKey("film.film_id"), primary_key=True)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.category_id"), primary_key=True)
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class FilmCount(Base):
    """How many films that are not deleted a category (`kind`) or an actor of this number has.

    The kind "film" with number 0 counts all of them. Without a row there are none.
    """

    __tablename__ = "film_count"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    films: Mapped[int] = mapped_column(Integer)


class CatalogueState(Base):
    """The revision of the catalogue, in one row that every change holds until it is committed.

    So revisions are in the order of commits: none comes late, none is missing. The last numbers
    that rows got are kept for SQLite, which would give the number of a deleted row again.
    """

    __tablename__ = "catalogue_state"

    state_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)
    last_film: Mapped[int] = mapped_column(Integer, server_default="0")
    last_category: Mapped[int] = mapped_column(Integer, server_default="0")
    last_actor: Mapped[int] = mapped_column(Integer, server_default="0")


class CatalogueChange(Base):
    """One change of the catalogue, written in its transaction.

    `resource` and `previous` are JSON of server.catalogue.change_records; `changed_fields` are
    the contract's names with commas between them.
    """

    __tablename__ = "catalogue_change"
    __table_args__ = (
        Index("idx_catalogue_change_resource", "kind", "number", "revision"),
        Index("idx_catalogue_change_time", "change_time"),
    )

    revision: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=False)
    change_type: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    number: Mapped[int] = mapped_column(Integer)
    change_time: Mapped[datetime] = mapped_column(UtcDateTime)
    principal: Mapped[str] = mapped_column(String(256), server_default="")
    request_id: Mapped[str] = mapped_column(String(128), server_default="")
    resource: Mapped[str | None] = mapped_column(Text)
    previous: Mapped[str | None] = mapped_column(Text)
    changed_fields: Mapped[str] = mapped_column(Text, server_default="")


class FilmImport(Base):
    """An import of films; `stream_id` is the stream that may store its next batch."""

    __tablename__ = "film_import"
    __table_args__ = (Index("idx_film_import_update_time", "update_time"),)

    import_id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID]
    stream_id: Mapped[UUID]
    mode: Mapped[str] = mapped_column(String(16))
    conflict_policy: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    committed_batch: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created: Mapped[int] = mapped_column(BigInteger, server_default="0")
    updated: Mapped[int] = mapped_column(BigInteger, server_default="0")
    skipped: Mapped[int] = mapped_column(BigInteger, server_default="0")
    failed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    failures: Mapped[str] = mapped_column(Text, server_default="[]")
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
