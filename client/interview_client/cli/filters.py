"""Filters in the syntax of AIP-160, built from options."""

from collections.abc import Iterable, Mapping

RATINGS: Mapping[str, str] = {
    "G": "G",
    "PG": "PG",
    "PG-13": "PG_13",
    "R": "R",
    "NC-17": "NC_17",
}
"""What people write, and what filters write."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "*": r"\*"})


def quoted(text: str) -> str:
    """Return the text as a string literal in which no character has a special meaning."""
    return f'"{text.translate(_ESCAPES)}"'


def contains(field: str, part: str) -> str:
    """Return the condition that one value of the field has this part, in any case."""
    return f"contains({field}, {quoted(part)})" if part else ""


def equals(field: str, value: str | int | None) -> str:
    """Return the condition that the field has this value, given as a plain word or number."""
    return "" if value is None or value == "" else f"{field} = {value}"


def rating(text: str) -> str:
    """Return the filter's word for a rating written as `PG-13`, `pg_13` or the like.

    Raises ValueError if there is none such.
    """
    word = RATINGS.get(text.strip().upper().replace("_", "-"))
    if word is None:
        raise ValueError(f"{text} is no rating; these are: {', '.join(RATINGS)}")
    return word


def all_of(conditions: Iterable[str], condition: str = "") -> str:
    """Return a filter that all hold of, a condition written by hand among them.

    That one is the first and without parentheses, so that the server tells its mistakes by their
    place in it. AND binds less than all that it may have (AIP-160).
    """
    by_hand = condition if condition.strip() else ""
    return " AND ".join(part for part in (by_hand, *conditions) if part)
