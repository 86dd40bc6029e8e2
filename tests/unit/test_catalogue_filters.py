"""Filters and orders as callers write them: what they mean, and what a mistake is answered."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.film_filter import film_filter
from server.core.errors import DomainError
from server.query.filter_types import (
    And,
    Comparison,
    Contains,
    Has,
    In,
    Not,
    Or,
    Pattern,
    Presence,
    Search,
)
from server.query.filters import (
    FieldKind,
    FieldSpec,
    Filter,
    OrderTerm,
    parse_order_by,
)
from tests.support.films import FIELDS, NOW

PG = Comparison("rating", "=", "PG")
YEAR = Comparison("release_year", ">=", 2005)
A, B, C, D = (Search((word,)) for word in ("alpha", "beta", "gamma", "delta"))


def _refusal(text: str) -> DomainError:
    with pytest.raises(DomainError) as caught:
        film_filter(text, FIELDS, NOW)
    return caught.value


@pytest.mark.parametrize("blank", ["", "  ", "\n\t"])
def test_a_blank_filter_is_none(blank: str) -> None:
    assert film_filter(blank, FIELDS) is None
    assert parse_order_by(blank, FIELDS) == ()


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("rating = PG AND release_year >= 2005", And((PG, YEAR))),
        ("rating=PG release_year>=2005", And((PG, YEAR))),
        ("alpha AND beta OR gamma", And((A, Or((B, C))))),
        ("alpha OR beta AND gamma OR delta", And((Or((A, B)), Or((C, D))))),
        ("alpha beta OR gamma AND delta", And((And((A, Or((B, C)))), D))),
        ("alpha AND (beta gamma)", And((A, And((B, C))))),
        ("NOT alpha OR -beta", Or((Not(A), Not(B)))),
        ("NOT (alpha OR beta)", Not(Or((A, B)))),
        ("-rating=PG", Not(PG)),
        ("alpha (beta)", And((A, B))),
        ("alpha AND(beta OR(gamma))", And((A, Or((B, C))))),
        ("NOT(alpha)", Not(A)),
    ],
)
def test_conditions_are_joined_as_in_aip_160(text: str, meaning: Filter) -> None:
    assert film_filter(text, FIELDS) == meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("title != ACADEMY", Comparison("title", "!=", "ACADEMY")),
        ('title < "a (b)"', Comparison("title", "<", "a (b)")),
        (r"""title = "\"\\\'\*" """, Comparison("title", "=", "\"\\'*")),
        ("title = 'AND'", Comparison("title", "=", "AND")),
        ("title = ORDER", Comparison("title", "=", "ORDER")),
        ("title = ACA*", Comparison("title", "=", Pattern("ACA", False, True))),
        ('title = "*SAUR"', Comparison("title", "=", Pattern("SAUR", True, False))),
        (r'title = "*\**"', Comparison("title", "=", Pattern("*", True, True))),
        ("title = *", Comparison("title", "=", Pattern("", True, True))),
        ("length_minutes > -5", Comparison("length_minutes", ">", -5)),
        ("rental_rate <= 2.990", Comparison("rental_rate", "<=", Decimal("2.99"))),
        ("rating = FILM_RATING_PG_13", Comparison("rating", "=", "PG_13")),
        ("streaming_available = false", Comparison("streaming_available", "=", False)),
        ("streaming_available = true", Comparison("streaming_available", "=", True)),
        ('name = "films/17"', Comparison("name", "=", 17)),
        ("language != languages/1", Comparison("language", "!=", 1)),
        ('categories:"categories/1"', Has("categories", 1)),
        ("special_features:TRAILERS", Has("special_features", "TRAILERS")),
        ("labels.categories:Action", Has("labels.categories", "Action")),
        ("special_features:*", Presence("special_features")),
        ("release_year:*", Presence("release_year")),
        ('contains(labels.categories, "ac*")', Contains("labels.categories", "ac*")),
        ("in(release_year, 2005, 2006)", In("release_year", (2005, 2006))),
        ('in(categories, "categories/3")', In("categories", (3,))),
        ('search("the dinosaurs")', Search(("dinosaur",))),
        ('"Academy Dinosaur"', Search(("academi", "dinosaur"))),
        ("Amélie", Search(("ameli",))),
    ],
)
def test_values_are_read_in_their_fields_type(text: str, meaning: Filter) -> None:
    assert film_filter(text, FIELDS) == meaning


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("now()", NOW),
        ('ago("168h")', NOW - timedelta(days=7)),
        ("ago(1h30m20s)", NOW - timedelta(hours=1, minutes=30, seconds=20)),
        ('"2026-01-31T10:30:00.25+02:00"', datetime(2026, 1, 31, 8, 30, 0, 250_000, UTC)),
        ("2026-01-31T08:30:00Z", datetime(2026, 1, 31, 8, 30, tzinfo=UTC)),
        ('"2026-01-31t08:30:00.123456789z"', datetime(2026, 1, 31, 8, 30, 0, 123_456, UTC)),
    ],
)
def test_moments_are_resolved_to_utc(written: str, moment: datetime) -> None:
    found = film_filter(f"update_time > {written}", FIELDS, NOW)
    assert found == Comparison("update_time", ">", moment)


def test_now_is_refused_where_no_moment_is_given() -> None:
    with pytest.raises(DomainError) as caught:
        film_filter("update_time > now()", FIELDS)
    assert caught.value.reason == "FILTER_SYNTAX"


@pytest.mark.parametrize(
    ("text", "position", "token", "expected"),
    [
        ("title = ", 8, "", "a word"),
        ("title = AND alpha", 8, "AND", "a quoted string"),
        ("(alpha", 6, "", '")"'),
        ("alpha)", 5, ")", "the end"),
        ("title == x", 7, "=", "a word"),
        ('title = "abc', 8, '"abc', 'a closing "'),
        ("NOT NOT alpha", 4, "NOT", "a word"),
        ("alpha\\", 5, "\\", "an operator"),
        (r'title = "a\n"', 10, r"\n", r"\*"),
        ("a\0b", 1, "\0", "NUL"),
        ("rating < PG", 7, "<", "= or !="),
        ("categories = categories/1", 11, "=", ":"),
        ("title:ACADEMY", 5, ":", ":*"),
        ("title = A*B", 8, "A*B", r"\*"),
        ("title < A*", 8, "A*", r"\*"),
        ("in(title, A*)", 10, "A*", r"\*"),
        ("like(title, x)", 0, "like", "contains or in or search"),
        ("now()", 0, "now", "contains or in or search"),
        ("contains(title)", 0, "contains", "contains(field"),
        ("contains(title, now())", 0, "contains", "contains(field"),
        ("in(release_year)", 0, "in", "in(field"),
        ("search(alpha, beta)", 0, "search", 'search("text")'),
        ("update_time > in(title, x)", 14, "in", "a value"),
        ("update_time > now(1h)", 18, "1h", "now()"),
        ("update_time > ago()", 14, "ago", "168h"),
        ("update_time > ago(now())", 14, "ago", "168h"),
        ("update_time > ago(1d)", 18, "1d", "168h"),
        ('update_time > ago("")', 18, '""', "168h"),
        ("update_time > ago(999999999h)", 18, "999999999h", "168h"),
        ("***", 0, "***", "one word"),
    ],
)
def test_a_syntax_error_names_its_place(
    text: str, position: int, token: str, expected: str
) -> None:
    error = _refusal(text)
    assert error.reason == "FILTER_SYNTAX"
    assert (error.metadata["position"], error.metadata["token"]) == (str(position), token)
    assert expected in error.metadata["expected"]
    assert [violation.field for violation in error.violations] == ["filter"]


def test_an_unknown_field_is_answered_with_what_was_meant() -> None:
    error = _refusal("raiting = PG")
    assert error.reason == "FILTER_UNKNOWN_FIELD"
    assert error.metadata["field"] == "raiting"
    assert error.metadata["position"] == "0"
    assert error.metadata["did_you_mean"] == "rating"
    assert error.metadata["allowed_fields"].startswith("actors,categories,create_time,")
    assert [violation.field for violation in error.violations] == ["filter"]


@pytest.mark.parametrize("text", ["description = x", "contains(nothing, x)", 'in("title", x)'])
def test_only_fields_that_can_be_filtered_are_known(text: str) -> None:
    error = _refusal(text)
    assert error.reason == "FILTER_UNKNOWN_FIELD"
    assert "description" not in error.metadata["allowed_fields"].split(",")


@pytest.mark.parametrize(
    ("text", "position", "expected_type", "allowed_values"),
    [
        ("rating = pg", 9, "enum", "G,PG,PG_13,R,NC_17"),
        ("special_features:PG", 17, "enum", None),
        ("streaming_available = 1", 22, "boolean", "true,false"),
        ("release_year = x", 15, "year", ""),
        ("release_year = 2005.5", 15, "year", ""),
        ("release_year = ٢٠٠٥", 15, "year", ""),
        ("length_minutes > 9223372036854775808", 17, "number", ""),
        ("rental_rate = $2", 14, "money", ""),
        ("rental_rate = NaN", 14, "money", ""),
        ("name = films/0", 7, "resource_name", ""),
        ("name = actors/1", 7, "resource_name", ""),
        ("language = languages/*", 11, "resource_name", ""),
        ("update_time > 2026-01-31", 14, "timestamp", ""),
        ('update_time > "2026-13-31T00:00:00Z"', 14, "timestamp", ""),
        ('update_time > "0001-01-01T00:00:00+14:00"', 14, "timestamp", ""),
        ("release_year > now()", 15, "year", ""),
        ("contains(rating, P)", 9, "string", ""),
    ],
)
def test_a_value_of_another_type_is_refused(
    text: str, position: int, expected_type: str, allowed_values: str | None
) -> None:
    error = _refusal(text)
    assert error.reason == "FILTER_TYPE_MISMATCH"
    assert error.metadata["position"] == str(position)
    assert error.metadata["expected_type"] == expected_type
    if allowed_values is not None:
        assert error.metadata["allowed_values"] == allowed_values
    assert [violation.field for violation in error.violations] == ["filter"]


def _nested(depth: int) -> str:
    return "(" * depth + "alpha" + ")" * depth


def _years(count: int) -> str:
    return f"in(release_year, {','.join(['2005'] * count)})"


@pytest.mark.parametrize(
    ("what", "limit", "fits", "exceeds", "actual"),
    [
        ("characters", 2048, "a" * 2048, "a" * 2049, 2049),
        ("depth", 16, _nested(16), _nested(17), 17),
        ("depth", 16, "NOT " + _nested(16), _nested(1000), 1000),
        ("comparisons", 32, "alpha " * 32, "alpha " * 33, 33),
        ("values", 100, _years(100), _years(101), 101),
        ("values", 100, f"{_years(99)} rating=PG", f"{_years(100)} rating=PG", 101),
    ],
)
def test_limits_are_exact(what: str, limit: int, fits: str, exceeds: str, actual: int) -> None:
    assert film_filter(fits, FIELDS) is not None
    error = _refusal(exceeds)
    assert error.reason == "FILTER_TOO_COMPLEX"
    assert error.metadata == {"what": what, "limit": str(limit), "actual": str(actual)}


@given(st.text(st.sampled_from("ab1 ()\"'\\*:=<>!,-.\n\0né") | st.characters(), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        film_filter(text, FIELDS, NOW)
    except DomainError as error:
        refusal = error
    else:
        return
    assert refusal.reason.startswith("FILTER_")
    assert "\n" not in refusal.message
    assert len(refusal.message) <= 1024


def test_long_words_are_cut_in_answers() -> None:
    error = _refusal("x" * 2000 + " = 1")
    assert len(error.metadata["field"]) == 64
    assert len(error.message) < 200


def test_words_need_a_field_to_be_searched_in() -> None:
    fields = {"state": FieldSpec(FieldKind.ENUM, filterable=True, enum_values=("OPEN",))}
    with pytest.raises(DomainError) as caught:
        film_filter("alpha", fields)
    assert caught.value.reason == "FILTER_SYNTAX"
    assert film_filter("state = OPEN", fields) == Comparison("state", "=", "OPEN")


def test_an_order_keeps_its_fields_in_turn() -> None:
    assert parse_order_by(" title ,release_year   desc,name asc", FIELDS) == (
        OrderTerm("title"),
        OrderTerm("release_year", descending=True),
        OrderTerm("name"),
    )


@pytest.mark.parametrize(
    ("text", "field", "guess"),
    [
        ("titel desc", "titel", "title"),
        ("releaseYear", "releaseYear", "release_year"),
        ("TITLE", "TITLE", "title"),
        ("language", "language", ""),
        ("title,", "", ""),
        ("title down", "title down", None),
        ("title desc name", "title desc name", None),
        ("title, name, title desc", "title", ""),
        ("title, name, rating, release_year, length_minutes", "length_minutes", ""),
    ],
)
def test_an_order_that_cannot_be_is_refused(text: str, field: str, guess: str | None) -> None:
    with pytest.raises(DomainError) as caught:
        parse_order_by(text, FIELDS)
    error = caught.value
    assert error.reason == "ORDER_BY_INVALID"
    assert error.metadata["field"] == field
    assert "release_year" in error.metadata["allowed_fields"].split(",")
    assert "language" not in error.metadata["allowed_fields"].split(",")
    if guess is not None:
        assert error.metadata["did_you_mean"] == guess
    assert [violation.field for violation in error.violations] == ["order_by"]
