"""Tables of the catalogue, named and shaped as in Pagila, with a few columns of our own."""

from datetime import datetime
from decimal import Decimal

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
from server.database.types import Money, TextList, UtcDateTime

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
    """A film. `last_update` is its update time; `revision` counts its changes.

    `create_time` is NULL where it is not known, as in a restored Pagila.
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
