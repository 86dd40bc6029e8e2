"""Filters that say something else than was meant: keywords and names in another case."""

import pytest

from server.catalogue.film_filter import film_filter
from server.core.errors import DomainError
from server.query.filter_types import Comparison, Pattern, Search
from server.query.filters import FieldKind, FieldSpec, Filter
from tests.support.films import FIELDS, NOW


def _refusal(text: str) -> DomainError:
    with pytest.raises(DomainError) as caught:
        film_filter(text, FIELDS, NOW)
    return caught.value


@pytest.mark.parametrize(
    ("text", "position", "token"),
    [
        ('title = "Alien" or title = "Jaws"', 16, "or"),
        ("rating = G and release_year = 1979", 11, "and"),
        ("not rating = PG", 0, "not"),
        ("Not(rating = PG)", 0, "Not"),
        ("rating = G oR (rating = PG)", 11, "oR"),
        ("alpha -or", 7, "or"),
        ("title = not Alien", 8, "not"),
        ("in(title, and, or)", 10, "and"),
        ("contains(title, and)", 16, "and"),
        ("search(or)", 7, "or"),
    ],
)
def test_a_keyword_that_is_not_in_capitals_is_refused(text: str, position: int, token: str) -> None:
    error = _refusal(text)
    expected = f'{token.upper()} in capitals, or "{token}" in quotes to look for the word'
    assert error.reason == "FILTER_SYNTAX"
    assert error.message == f"filter: at position {position}: write {expected}"
    assert error.metadata == {"position": str(position), "token": token, "expected": expected}
    assert [violation.field for violation in error.violations] == ["filter"]


def test_lists_that_have_nothing_to_search_refuse_such_a_keyword_too() -> None:
    fields = {"state": FieldSpec(FieldKind.ENUM, filterable=True, enum_values=("OPEN",))}
    with pytest.raises(DomainError, match="at position 13: write OR in capitals"):
        film_filter("state = OPEN or state = OPEN", fields)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('"or"', Search(("or",))),
        ("search('not')", Search(("not",))),
        ('title = "and"', Comparison("title", "=", "and")),
        ("oregano", Search(("oregano",))),
        ("title = or*", Comparison("title", "=", Pattern("or", False, True))),
    ],
)
def test_a_keyword_in_quotes_is_a_text(text: str, meaning: Filter) -> None:
    assert film_filter(text, FIELDS) == meaning


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("TITLE", "title"),
        ("Release_Year", "release_year"),
        ("releaseYear", "release_year"),
        ("RELEASEYEAR", "release_year"),
        ("lengthMinuts", "length_minutes"),
        ("Labels.Categories", "labels.categories"),
        ("RAITING", "rating"),
        ("studio", ""),
    ],
)
def test_a_name_in_another_case_is_answered_with_what_was_meant(written: str, meant: str) -> None:
    error = _refusal(f"{written} = x")
    assert (error.reason, error.metadata["field"]) == ("FILTER_UNKNOWN_FIELD", written)
    assert error.metadata["did_you_mean"] == meant
