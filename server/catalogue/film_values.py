"""Conditions on films in memory: whether one that was read meets a filter."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from server.catalogue.domain import Film, Label
from server.catalogue.search import indexed_terms
from server.query.evaluation import FilterValues, holds
from server.query.filter_types import Filter, Value


def film_meets(condition: Filter | None, film: Film) -> bool:
    """Tell whether a list with this filter would have the film; None takes every film.

    The film is one that was read in full: a search looks into its description and actors too.
    """
    if condition is None:
        return True
    return holds(condition, FilterValues(partial(_values, film), _Terms(film)))


class _Terms:
    """The terms that a search finds a film by, made when the first one is asked for."""

    def __init__(self, film: Film) -> None:
        self._film = film
        self._terms: frozenset[str] | None = None

    def __call__(self, term: str) -> bool:
        if self._terms is None:
            self._terms = film_terms(self._film)
        return term in self._terms


def film_terms(film: Film) -> frozenset[str]:
    """Return what the search index has of a film: of its title, description and labels."""
    categories, actors = (" ".join(map(str, _texts(of))) for of in (film.categories, film.actors))
    texts = (film.title, film.description, categories, actors)
    return frozenset(term for text in texts for term in indexed_terms(text))


def _values(film: Film, field: str) -> Collection[Value]:
    return _FIELDS[field](film)


def _present(value: Value | None) -> Collection[Value]:
    return () if value is None else (value,)


def _short_name(stored: str) -> str:
    """Return the contract's name of Pagila's word: "PG-13" is PG_13."""
    return stored.upper().replace("-", "_").replace(" ", "_")


def _numbers(labels: Collection[Label]) -> Collection[Value]:
    return [label.number for label in labels]


def _texts(labels: Collection[Label]) -> Collection[Value]:
    return [label.text for label in labels]


def _original(film: Film) -> Collection[Label]:
    return () if film.original_language is None else (film.original_language,)


_FIELDS: Final[Mapping[str, Callable[[Film], Collection[Value]]]] = {
    "name": lambda film: (film.film_id,),
    "title": lambda film: (film.title,),
    "release_year": lambda film: _present(film.release_year),
    "language": lambda film: (film.language.number,),
    "original_language": lambda film: _numbers(_original(film)),
    "rental_duration_days": lambda film: (film.rental_duration,),
    "rental_rate": lambda film: (film.rental_rate,),
    "length_minutes": lambda film: _present(film.length),
    "replacement_cost": lambda film: (film.replacement_cost,),
    "rating": lambda film: () if film.rating is None else (_short_name(film.rating),),
    "special_features": lambda film: [_short_name(feature) for feature in film.special_features],
    "streaming_available": lambda film: (film.streaming_available,),
    "categories": lambda film: _numbers(film.categories),
    "actors": lambda film: _numbers(film.actors),
    "labels.language": lambda film: (film.language.text,),
    "labels.original_language": lambda film: _texts(_original(film)),
    "labels.categories": lambda film: _texts(film.categories),
    "labels.actors": lambda film: _texts(film.actors),
    "create_time": lambda film: (film.create_time,),
    "update_time": lambda film: (film.update_time,),
    "delete_time": lambda film: _present(film.delete_time),
}
