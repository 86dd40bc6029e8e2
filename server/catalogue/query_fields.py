"""What films, categories and actors can be filtered and ordered by, as the contract says."""

from typing import Final

from server.generated.interview.catalogue.v1 import resources_pb2
from server.query.fields import Meaning, numbered, query_fields
from server.query.filter_types import FieldKind, Fields

_MEANINGS: Final = {
    "name": numbered("films"),
    "language": numbered("languages"),
    "original_language": numbered("languages"),
    "categories": numbered("categories"),
    "actors": numbered("actors"),
    "release_year": Meaning(FieldKind.YEAR),
}


def film_fields() -> Fields:
    """Return the fields of a film that have a `query` option, by path."""
    return query_fields(resources_pb2.Film.DESCRIPTOR, _MEANINGS)


def category_fields() -> Fields:
    """Return the fields of a category that have a `query` option, by path."""
    return query_fields(resources_pb2.Category.DESCRIPTOR, {"name": numbered("categories")})


def actor_fields() -> Fields:
    """Return the fields of an actor that have a `query` option, by path."""
    return query_fields(resources_pb2.Actor.DESCRIPTOR, {"name": numbered("actors")})
