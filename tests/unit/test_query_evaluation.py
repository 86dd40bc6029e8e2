"""Filters in memory: they hold for the films that the filters mean."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings

from server.catalogue.domain import Label
from server.catalogue.film_columns import film_columns
from server.catalogue.film_filter import film_filter
from server.catalogue.film_values import film_meets
from server.catalogue.query_fields import film_fields
from server.query.evaluation import FilterValues, holds
from server.query.filters import FieldKind, FieldSpec, parse_filter
from tests.support.amount import amount
from tests.support.film_conditions import Condition, conditions
from tests.support.films import FIELDS, FILMS, NOW, film_of

ROWS = [film_of(row) for row in FILMS]
FILM = replace(
    ROWS[0],
    title="Amélie 100% Dinosaur",
    description="robots in cafés",
    rating="PG-13",
    special_features=("Behind the Scenes",),
    original_language=None,
    rental_rate=Decimal("2.99"),
    categories=(Label(2, "Animation"),),
    actors=(Label(1, "PENELOPE GUINESS"), Label(3, "ÉMILE O'Hara")),
    delete_time=None,
)


@settings(
    deadline=None, max_examples=amount(150, 5_000), suppress_health_check=[HealthCheck.too_slow]
)
@given(condition=conditions)
def test_films_are_those_that_the_filter_means(condition: Condition) -> None:
    node = film_filter(condition.text, FIELDS, NOW)
    found = [film.film_id for film in ROWS if film_meets(node, film)]
    assert found == [film.film_id for film in FILMS if condition.holds(film)]


def test_every_field_of_the_contract_has_values_and_a_column() -> None:
    for path, spec in film_fields().items():
        if spec.filterable:
            film_meets(film_filter(f"{path}:*", film_fields()), FILM)
            for is_sqlite in (True, False):
                assert path in film_columns(is_sqlite=is_sqlite).fields


def test_the_tests_films_have_the_fields_of_the_contract() -> None:
    assert {path: spec for path, spec in film_fields().items() if path != "labels"} == FIELDS


def test_no_filter_takes_every_film() -> None:
    assert film_meets(None, FILM)


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("rating = PG_13", True),
        ("NOT rating = PG", True),
        ("rating != PG", True),
        ("special_features:BEHIND_THE_SCENES", True),
        ("special_features:TRAILERS", False),
        ("original_language:*", False),
        ("original_language != languages/1", False),
        ("NOT original_language = languages/1", True),
        ("rental_rate < 2.995", True),
        ("rental_rate = 2.990000000", True),
        ("rental_rate = 999999999999999999.999999999", False),
        ("delete_time:*", False),
        ('contains(title, "100%")', True),
        ('contains(title, "amÉlie")', False),
        ('contains(title, "DINO")', True),
        ("contains(labels.actors, hara)", True),
        ("amelie robot", True),
        ("amelie zebra", False),
        ("search(cafe)", True),
        ("search(animation)", True),
        ("search(penelope)", True),
        ("in(categories, categories/1, categories/2)", True),
        ("in(categories, categories/1)", False),
    ],
)
def test_a_film_meets_what_is_said_of_it(text: str, met: bool) -> None:
    assert film_meets(film_filter(text, FIELDS, NOW), FILM) is met


def test_other_lists_are_filtered_the_same_way() -> None:
    fields = {"size": FieldSpec(FieldKind.NUMBER, filterable=True)}
    node = parse_filter("size > 3 AND NOT size = 5", fields)
    assert node is not None
    found = [size for size in (3, 4, 5) if holds(node, FilterValues(_Sized(size), _no_term))]
    assert found == [4]


class _Sized:
    """Values of a row that has one field."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, _field: str) -> tuple[int]:
        return (self._size,)


def _no_term(_term: str) -> bool:
    return False
