"""Random filters, each with what it means in Python."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from server.catalogue.search import search_terms
from server.query.filter_grammar import MAX_CHARACTERS, MAX_COMPARISONS
from tests.support.films import (
    ACTORS,
    CATEGORIES,
    FEATURES,
    LANGUAGES,
    NOW,
    RATINGS,
    TITLES,
    VALUES,
    FilmRow,
    terms_of,
)

_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUAL = ("=", "!=")
_LABELS = [*LANGUAGES.values(), *CATEGORIES.values(), *(" ".join(name) for name in ACTORS.values())]
_TEXTS = [*TITLES, *_LABELS]
_STRING_FIELDS = ("title", "labels.language", "labels.original_language")
_TEXT_FIELDS = (*_STRING_FIELDS, "labels.categories", "labels.actors")
_SEARCHES = (
    *("dinosaur", "epic", "cafe", "robots fight", "of", "elan", "東京"),
    *("penelope", "action", "nick epic", "or", "Not", "and"),
)
_KEYWORDS = ("AND", "OR", "NOT")
_ASCII_LOWER = {ord(upper): ord(upper) + 32 for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


@dataclass(frozen=True)
class Condition:
    """A filter's text, which films meet it, and how many comparisons it holds."""

    text: str
    holds: Callable[[FilmRow], bool]
    size: int = 1


def quoted(text: str) -> str:
    """Return the text as a quoted string of a filter."""
    for special in '\\"*':
        text = text.replace(special, "\\" + special)
    return f'"{text}"'


def _any_value(text: str, field: str, test: Callable[[Any], bool]) -> Condition:
    return Condition(text, lambda film: any(test(value) for value in VALUES[field](film)))


def _comparisons(
    fields: Sequence[str],
    values: SearchStrategy[tuple[str, Any]],
    signs: Sequence[str] = tuple(_SIGNS),
) -> SearchStrategy[Condition]:
    def build(field: str, sign: str, value: tuple[str, Any]) -> Condition:
        written, meant = value
        return _any_value(
            f"{field} {sign} {written}", field, lambda found: _SIGNS[sign](found, meant)
        )

    return st.builds(build, st.sampled_from(fields), st.sampled_from(signs), values)


def _written(value: object) -> tuple[str, object]:
    return str(value), value


def _moment(hours: int, offset: int) -> tuple[str, datetime]:
    moment = NOW - timedelta(hours=hours)
    return quoted(moment.astimezone(timezone(timedelta(hours=offset))).isoformat()), moment


def _reference(collection: str, numbers: Sequence[int]) -> SearchStrategy[tuple[str, int]]:
    return st.sampled_from([(f'"{collection}/{number}"', number) for number in numbers])


_numbers = st.sampled_from([3, 5, 46, 90, 1999, 2005, 2006, 40000, 10**12, -(2**63)]).map(_written)
_amounts = st.sampled_from(
    [
        *("0", "0.99", "2.9900", "2.99", "2.985", "2.995", "3", "29.9", "1000000", "-1"),
        *("999999999999999999", "-999999999999999999.999999999", "2.990000001", "2.989999999"),
    ]
).map(lambda text: (text, Decimal(text)))
_parts = st.one_of(
    st.sampled_from(_TEXTS),
    st.builds(lambda text, end: text[:end], st.sampled_from(_TEXTS), st.integers(0, 4)),
    st.builds(lambda text, start: text[start:], st.sampled_from(_TEXTS), st.integers(0, 4)),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3),
)
_strings = _parts.map(lambda text: (quoted(text), text))
_moments = st.one_of(
    st.builds(_moment, st.integers(0, 240), st.integers(-12, 12)),
    st.just(("now()", NOW)),
    st.integers(0, 240).map(lambda hours: (f'ago("{hours}h")', NOW - timedelta(hours=hours))),
)


def _enums(names: dict[str, str], prefix: str) -> SearchStrategy[tuple[str, str]]:
    long_names = {prefix + short: stored for short, stored in names.items()}
    return st.sampled_from([*names.items(), *long_names.items()])


def _has(field: str, values: SearchStrategy[tuple[str, Any]]) -> SearchStrategy[Condition]:
    def build(value: tuple[str, Any]) -> Condition:
        written, meant = value
        return _any_value(f"{field}:{written}", field, lambda found: bool(found == meant))

    return values.map(build)


def _wildcard(field: str, part: str, shape: str) -> Condition:
    text = quoted(part)[1:-1]
    written, test = {
        "start": (f"{text}*", lambda found: found.startswith(part)),
        "end": (f"*{text}", lambda found: found.endswith(part)),
        "middle": (f"*{text}*", lambda found: part in found),
    }[shape]
    return _any_value(f'{field} = "{written}"', field, test)


def _contains(field: str, part: str) -> Condition:
    lowered = part.translate(_ASCII_LOWER)
    return _any_value(
        f"contains({field}, {quoted(part)})",
        field,
        lambda found: lowered in found.translate(_ASCII_LOWER),
    )


def _in(field: str, values: list[tuple[str, Any]]) -> Condition:
    meant = [value for _, value in values]
    written = ", ".join(text for text, _ in values)
    return _any_value(f"in({field}, {written})", field, lambda found: found in meant)


def _ins(
    fields: Sequence[str], values: SearchStrategy[tuple[str, Any]]
) -> SearchStrategy[Condition]:
    return st.builds(_in, st.sampled_from(fields), st.lists(values, min_size=1, max_size=3))


def _search(text: str) -> Condition:
    terms = search_terms(text)
    return Condition(text, lambda film: terms_of(film).issuperset(terms))


def _searches(text: str) -> SearchStrategy[Condition]:
    call = _search(text)
    is_bare = text.isalpha() and text.upper() not in _KEYWORDS
    written = [f"search({quoted(text)})", quoted(text), *([text] if is_bare else [])]
    return st.sampled_from([Condition(form, call.holds) for form in written])


_films = _reference("films", [1, 7, 40, 4_000_000_000])
_languages = _reference("languages", [*LANGUAGES, 9])
_categories = _reference("categories", [*CATEGORIES, 9])
_actors = _reference("actors", [*ACTORS, 9])
_ratings = _enums(RATINGS, "FILM_RATING_")
_features = _enums(FEATURES, "SPECIAL_FEATURE_")
_truths = st.sampled_from([("true", True), ("false", False)])

_simple: SearchStrategy[Condition] = st.one_of(
    _comparisons(["release_year", "rental_duration_days", "length_minutes"], _numbers),
    _comparisons(["rental_rate", "replacement_cost"], _amounts),
    _comparisons(_STRING_FIELDS, _strings),
    _comparisons(["create_time", "update_time", "delete_time"], _moments),
    _comparisons(["name"], _films, _EQUAL),
    _comparisons(["language", "original_language"], _languages, _EQUAL),
    _comparisons(["rating"], _ratings, _EQUAL),
    _comparisons(["streaming_available"], _truths, _EQUAL),
    _has("categories", _categories),
    _has("actors", _actors),
    _has("special_features", _features),
    _has("labels.categories", _strings),
    _has("labels.actors", _strings),
    st.sampled_from(sorted(VALUES)).map(lambda field: _any_value(f"{field}:*", field, _anything)),
    st.builds(
        _wildcard,
        st.sampled_from(_STRING_FIELDS),
        _parts,
        st.sampled_from(["start", "end", "middle"]),
    ),
    st.builds(_contains, st.sampled_from(_TEXT_FIELDS), _parts),
    _ins(["release_year", "rental_duration_days", "length_minutes"], _numbers),
    _ins(["rental_rate", "replacement_cost"], _amounts),
    _ins(_TEXT_FIELDS, _strings),
    _ins(["create_time", "update_time", "delete_time"], _moments),
    _ins(["name"], _films),
    _ins(["language", "original_language"], _languages),
    _ins(["rating"], _ratings),
    _ins(["streaming_available"], _truths),
    _ins(["categories"], _categories),
    _ins(["actors"], _actors),
    _ins(["special_features"], _features),
    st.sampled_from(_SEARCHES).flatmap(_searches),
)


def _anything(_: object) -> bool:
    return True


def _negated(inner: Condition, sign: str) -> Condition:
    return Condition(sign + inner.text, lambda film: not inner.holds(film), inner.size)


def _joined(parts: list[Condition], joint: str) -> Condition:
    every = any if joint == " OR " else all
    return Condition(
        joint.join(part.text for part in parts),
        lambda film: every(part.holds(film) for part in parts),
        sum(part.size for part in parts),
    )


def _expressions(simple: SearchStrategy[Condition]) -> SearchStrategy[Condition]:
    """Build the levels of AIP-160's grammar, loosest last, without parentheses of their own."""
    term = st.one_of(simple, st.builds(_negated, simple, st.sampled_from(["NOT ", "-"])))
    either = st.builds(_joined, st.lists(term, min_size=1, max_size=2), st.just(" OR "))
    sequence = st.builds(_joined, st.lists(either, min_size=1, max_size=2), st.just(" "))
    return st.builds(_joined, st.lists(sequence, min_size=1, max_size=2), st.just(" AND "))


def _allowed(condition: Condition) -> bool:
    return condition.size <= MAX_COMPARISONS and len(condition.text) <= MAX_CHARACTERS


def _nested(inner: SearchStrategy[Condition]) -> SearchStrategy[Condition]:
    return _expressions(inner).map(lambda one: Condition(f"({one.text})", one.holds, one.size))


_deeper = st.one_of(_simple, _nested(st.one_of(_simple, _nested(_simple))))
conditions: SearchStrategy[Condition] = _expressions(_deeper).filter(_allowed)
"""Filters of conditions, of others in parentheses, and of others in those."""
