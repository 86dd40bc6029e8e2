"""Between the catalogue's things and its messages."""

import hashlib
import re
from datetime import datetime
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from server.catalogue.domain import Actor, Category, Film, FilmMatch, Language
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2

_NAME = re.compile(r"(films|categories|actors|languages)/([1-9][0-9]{0,9})")

_RATINGS = {
    "G": resources_pb2.FILM_RATING_G,
    "PG": resources_pb2.FILM_RATING_PG,
    "PG-13": resources_pb2.FILM_RATING_PG_13,
    "R": resources_pb2.FILM_RATING_R,
    "NC-17": resources_pb2.FILM_RATING_NC_17,
}
_FEATURES = {
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


def timestamp(moment: datetime) -> Timestamp:
    """Turn an aware moment into a Timestamp."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def money(amount: Decimal) -> Money:
    """Turn an amount of US dollars into a Money; exact, never through a float."""
    units = int(amount)
    return Money(currency_code="USD", units=units, nanos=int((amount - units).scaleb(9)))


def etag(name: str, *state: object) -> str:
    """Return a strong entity tag, quoted, of a row's name and state (RFC 9110, 8.8.3)."""
    digest = hashlib.blake2b(repr((name, state)).encode(), digest_size=9)
    return f'"{digest.hexdigest()}"'


def film_etag(film: Film) -> str:
    """Return the entity tag of a film's state."""
    return etag(f"films/{film.film_id}", film.revision, film.update_time.timestamp())


def film_message(film: Film, *, full: bool) -> resources_pb2.Film:
    """Turn a film into its message, in FILM_VIEW_FULL or without description and actors."""
    original = film.original_language
    actors = film.actors if full else ()
    return resources_pb2.Film(
        name=f"films/{film.film_id}",
        title=film.title,
        description=film.description if full else "",
        release_year=film.release_year,
        language=f"languages/{film.language.number}",
        original_language=f"languages/{original.number}" if original else "",
        rental_duration_days=film.rental_duration,
        rental_rate=money(film.rental_rate),
        length_minutes=film.length,
        replacement_cost=money(film.replacement_cost),
        rating=_RATINGS.get(film.rating or "", resources_pb2.FILM_RATING_UNSPECIFIED),
        special_features=[
            _FEATURES[feature] for feature in film.special_features if feature in _FEATURES
        ],
        streaming_available=film.streaming_available,
        categories=[f"categories/{label.number}" for label in film.categories],
        actors=[f"actors/{label.number}" for label in actors],
        labels=resources_pb2.FilmLabels(
            language=film.language.text,
            original_language=original.text if original else "",
            categories=[label.text for label in film.categories],
            actors=[label.text for label in actors],
        ),
        create_time=timestamp(film.create_time),
        update_time=timestamp(film.update_time),
        revision=film.revision,
        etag=film_etag(film),
    )


def match_message(match: FilmMatch, *, full: bool) -> film_pb2.FilmMatch:
    """Turn a search's match into its message."""
    return film_pb2.FilmMatch(film=film_message(match.film, full=full), score=match.score)


def category_message(category: Category) -> resources_pb2.Category:
    """Turn a category into its message."""
    name = f"categories/{category.category_id}"
    return resources_pb2.Category(
        name=name,
        display_name=category.name,
        film_count=category.film_count,
        update_time=timestamp(category.update_time),
        etag=etag(name, category.name, category.update_time.timestamp()),
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
        etag=etag(name, actor.given_name, actor.family_name, actor.update_time.timestamp()),
    )


def language_message(language: Language) -> resources_pb2.Language:
    """Turn a language into its message."""
    return resources_pb2.Language(
        name=f"languages/{language.language_id}",
        display_name=language.name,
        update_time=timestamp(language.update_time),
    )
