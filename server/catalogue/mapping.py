"""Between the catalogue's things and its messages."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from server.catalogue.domain import Actor, Category, Film, Language
from server.catalogue.etags import actor_etag, category_etag, film_etag
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2
from server.rpc.well_known import timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(r"(films|categories|actors|languages)/([1-9][0-9]{0,9})")

RATINGS = {
    "G": resources_pb2.FILM_RATING_G,
    "PG": resources_pb2.FILM_RATING_PG,
    "PG-13": resources_pb2.FILM_RATING_PG_13,
    "R": resources_pb2.FILM_RATING_R,
    "NC-17": resources_pb2.FILM_RATING_NC_17,
}
FEATURES = {
    "Trailers": resources_pb2.SPECIAL_FEATURE_TRAILERS,
    "Commentaries": resources_pb2.SPECIAL_FEATURE_COMMENTARIES,
    "Deleted Scenes": resources_pb2.SPECIAL_FEATURE_DELETED_SCENES,
    "Behind the Scenes": resources_pb2.SPECIAL_FEATURE_BEHIND_THE_SCENES,
}


def number_of(name: str, collection: str) -> int | None:
    """Return 17 for `films/17`; None where the name is not one of the collection."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] != collection:
        return None
    return int(match[2])


def _set_time(message: Timestamp, moment: datetime) -> None:
    """Fill a message that is there already, so that none is made and copied for each film."""
    since = moment - _EPOCH
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1_000


@lru_cache(maxsize=1024)
def money(amount: Decimal) -> Money:
    """Turn an amount of US dollars into a Money; exact, never through a float.

    Amounts repeat from film to film, so the message is shared: copy it, never change it.
    """
    units = int(amount)
    return Money(currency_code="USD", units=units, nanos=int((amount - units).scaleb(9)))


def film_message(film: Film, *, full: bool) -> resources_pb2.Film:
    """Turn a film into its message, in FILM_VIEW_FULL or without description and actors."""
    message = resources_pb2.Film()
    fill_film(message, film, full=full)
    return message


def fill_film(message: resources_pb2.Film, film: Film, *, full: bool) -> None:
    """Set the fields of an empty message.

    In place, because a message that is handed to its parent's constructor is copied, and a
    page has fifty films with five messages each.
    """
    message.name = f"films/{film.film_id}"
    message.title = film.title
    if film.release_year is not None:
        message.release_year = film.release_year
    message.language = f"languages/{film.language.number}"
    message.rental_duration_days = film.rental_duration
    message.rental_rate.CopyFrom(money(film.rental_rate))
    if film.length is not None:
        message.length_minutes = film.length
    message.replacement_cost.CopyFrom(money(film.replacement_cost))
    if film.rating in RATINGS:
        message.rating = RATINGS[film.rating]
    message.special_features.extend(
        [FEATURES[feature] for feature in film.special_features if feature in FEATURES]
    )
    message.streaming_available = film.streaming_available
    _set_time(message.create_time, film.create_time)
    _set_time(message.update_time, film.update_time)
    if film.delete_time is not None:
        _set_time(message.delete_time, film.delete_time)
    if film.purge_time is not None:
        _set_time(message.purge_time, film.purge_time)
    message.revision = film.revision
    message.etag = film_etag(film)
    _fill_references(message, film, full=full)


def _fill_references(message: resources_pb2.Film, film: Film, *, full: bool) -> None:
    labels = message.labels
    labels.language = film.language.text
    if film.original_language is not None:
        message.original_language = f"languages/{film.original_language.number}"
        labels.original_language = film.original_language.text
    message.categories.extend([f"categories/{label.number}" for label in film.categories])
    labels.categories.extend([label.text for label in film.categories])
    if full:
        message.description = film.description
        message.actors.extend([f"actors/{label.number}" for label in film.actors])
        labels.actors.extend([label.text for label in film.actors])


def films_response(
    films: Iterable[Film], next_page_token: str, total_size: int, *, full: bool
) -> film_pb2.ListFilmsResponse:
    """Turn a page of films into its message."""
    message = film_pb2.ListFilmsResponse(next_page_token=next_page_token, total_size=total_size)
    for film in films:
        fill_film(message.films.add(), film, full=full)
    return message


def category_message(category: Category) -> resources_pb2.Category:
    """Turn a category into its message."""
    name = f"categories/{category.category_id}"
    return resources_pb2.Category(
        name=name,
        display_name=category.name,
        film_count=category.film_count,
        update_time=timestamp(category.update_time),
        etag=category_etag(category),
    )


def actor_message(actor: Actor) -> resources_pb2.Actor:
    """Turn an actor into its message."""
    name = f"actors/{actor.actor_id}"
    return resources_pb2.Actor(
        name=name,
        given_name=actor.given_name,
        family_name=actor.family_name,
        film_count=actor.film_count,
        update_time=timestamp(actor.update_time),
        etag=actor_etag(actor),
    )


def language_message(language: Language) -> resources_pb2.Language:
    """Turn a language into its message."""
    return resources_pb2.Language(
        name=f"languages/{language.language_id}",
        display_name=language.name,
        update_time=timestamp(language.update_time),
    )
