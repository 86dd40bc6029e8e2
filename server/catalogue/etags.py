"""Strong entity tags of the catalogue's rows (AIP-154; RFC 9110, 8.8.3).

A film's begins with its revision, so that what has changed since can be looked up in the log.
"""

import hashlib
import re

from server.catalogue.domain import Actor, Category, Film

_FILM_ETAG = re.compile(r'"([0-9a-f]{1,16})-[0-9a-f]{18}"')


def film_etag(film: Film) -> str:
    """Return the entity tag of a film's state."""
    # The time too: a film that was changed past this service keeps its revision.
    digest = _digest(f"films/{film.film_id}", film.revision, film.update_time.timestamp())
    return f'"{film.revision:x}-{digest}"'


def revision_of(etag: str) -> int | None:
    """Return the revision that a film's entity tag is of; None where it is no such tag."""
    match = _FILM_ETAG.fullmatch(etag)
    return int(match[1], 16) if match else None


def category_etag(category: Category) -> str:
    """Return the entity tag of a category's state, which its films are no part of."""
    name = f"categories/{category.category_id}"
    return f'"{_digest(name, category.name, category.update_time.timestamp())}"'


def actor_etag(actor: Actor) -> str:
    """Return the entity tag of an actor's state, which its films are no part of."""
    moment = actor.update_time.timestamp()
    digest = _digest(f"actors/{actor.actor_id}", actor.given_name, actor.family_name, moment)
    return f'"{digest}"'


def _digest(name: str, *state: object) -> str:
    return hashlib.blake2b(repr((name, state)).encode(), digest_size=9).hexdigest()
