"""Reads conditions out of plain English: years, running times, ratings, orders, counts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_YEAR = r"((?:19|20)\d\d)"
_DECADE_NAMES = {
    "twenties": 1920,
    "thirties": 1930,
    "forties": 1940,
    "fifties": 1950,
    "sixties": 1960,
    "seventies": 1970,
    "eighties": 1980,
    "nineties": 1990,
}
_NUMBERS = {
    "a": 1.0, "an": 1.0, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0,
    "six": 6.0, "seven": 7.0, "eight": 8.0, "nine": 9.0, "ten": 10.0,
    "half an": 0.5,
}  # fmt: skip
_DECADE = rf"(?:the\s+)?((?:19|20)?\d0)'?s|(?:the\s+)?({'|'.join(_DECADE_NAMES)})"
_NUMBER = r"(half an|\d+(?:[.,]\d+)?|an?|one|two|three|four|five|six|seven|eight|nine|ten)"
_SMALL = r"(\d{1,2}|two|three|four|five|six|seven|eight|nine|ten)"
_DURATION = rf"{_NUMBER}[\s-]*(hours?|hrs?|h|minutes?|mins?|m)\b(\s+and\s+a\s+half)?"

Conditions = dict[str, object]


@dataclass(slots=True)
class Phrases:
    """What was recognised, and the text that is left."""

    rest: str
    conditions: Conditions = field(default_factory=dict)
    sort: str = ""
    limit: int = 0
    counts: bool = False


def read_phrases(text: str) -> Phrases:
    """Return the conditions of a text, which must be in lower case."""
    found = Phrases(text)
    for pattern, note in _RULES:
        while (match := pattern.search(found.rest)) is not None:
            note(found, match)
            found.rest = f"{found.rest[: match.start()]} {found.rest[match.end() :]}"
    return found


def _decade(number: str | None, name: str | None) -> int:
    if name:
        return _DECADE_NAMES[name]
    year = int(number or 0)
    if year >= 100:
        return year
    return year + (1900 if year >= 30 else 2000)


def _set(key: str, value: Callable[[re.Match[str]], object]) -> Callable[..., None]:
    def note(found: Phrases, match: re.Match[str]) -> None:
        found.conditions.setdefault(key, value(match))

    return note


def _range(found: Phrases, match: re.Match[str]) -> None:
    first, last = sorted((int(match[1]), int(match[2])))
    found.conditions |= {"year_from": first, "year_to": last}


def _in_decade(found: Phrases, match: re.Match[str]) -> None:
    first = _decade(match[2], match[3])
    match (match[1] or "").split():
        case ["before", *_]:
            found.conditions["year_to"] = first - 1
        case ["after", *_]:
            found.conditions["year_from"] = first + 10
        case ["since", *_]:
            found.conditions["year_from"] = first
        case _:
            found.conditions |= {"year_from": first, "year_to": first + 9}


def _minutes(match: re.Match[str]) -> int:
    number, unit = match[2], match[3]
    amount = _NUMBERS.get(number) or float(number.replace(",", "."))
    amount += 0.5 if match[4] else 0.0
    return round(amount * 60) if unit.startswith("h") else round(amount)


def _at_most(found: Phrases, match: re.Match[str]) -> None:
    including = match[1].startswith(("at most", "up to", "within", "max", "no ", "not "))
    found.conditions["max_minutes"] = max(1, _minutes(match) - (not including))


def _at_least(found: Phrases, match: re.Match[str]) -> None:
    including = match[1].startswith(("at least", "min"))
    found.conditions["min_minutes"] = _minutes(match) + (not including)


def _sort(order: str) -> Callable[[Phrases, re.Match[str]], None]:
    def note(found: Phrases, _: re.Match[str]) -> None:
        found.sort = found.sort or order

    return note


def _limit(found: Phrases, match: re.Match[str]) -> None:
    number = match[1]
    found.limit = min(25, int(_NUMBERS.get(number) or number)) or found.limit


def _count(found: Phrases, _: re.Match[str]) -> None:
    found.counts = True


def _rating(match: re.Match[str]) -> str:
    letters = next(group for group in match.groups() if group).upper()
    plain = re.sub(r"[^A-Z0-9]", "", letters)
    return {"PG13": "PG-13", "NC17": "NC-17"}.get(plain, plain)


_ALL: Mapping[str, Callable[[Phrases, re.Match[str]], None]] = {
    r"\brat(?:ed|ing)(?:\s+of)?\s*:?\s*(nc-?\s?17|pg-?\s?13|pg|g|r)\b(?![-'])": _set(
        "rating", _rating
    ),
    r"\b(nc-?\s?17|pg-?\s?13|pg)\b(?:[- ]rated)?|\b([gr])[- ]rated\b": _set("rating", _rating),
    rf"\b(?:between|from)?\s*{_YEAR}\s*(?:and|to|-|\u2013|until)\s*{_YEAR}\b": _range,
    rf"\b(before\s+|after\s+|since\s+)?(?:in\s+|from\s+|of\s+)?(?:{_DECADE})(?!\w)": _in_decade,
    rf"\b{_YEAR}\s*(?:or|and)\s*(?:later|newer|after)\b": _set("year_from", lambda m: int(m[1])),
    rf"\b{_YEAR}\s*(?:or|and)\s*(?:earlier|older|before)\b": _set("year_to", lambda m: int(m[1])),
    rf"\b(?:from\s+)?{_YEAR}\s+onwards?\b": _set("year_from", lambda m: int(m[1])),
    rf"\b(?:before|prior to|older than|earlier than)\s+{_YEAR}\b": _set(
        "year_to", lambda m: int(m[1]) - 1
    ),
    rf"\b(?:until|till|up to)\s+{_YEAR}\b": _set("year_to", lambda m: int(m[1])),
    rf"\b(?:after|newer than|later than)\s+{_YEAR}\b": _set("year_from", lambda m: int(m[1]) + 1),
    rf"\bsince\s+{_YEAR}\b": _set("year_from", lambda m: int(m[1])),
    rf"\b(?:released\s+)?(?:in|from|of)?\s*(?:the\s+year\s+)?\b{_YEAR}\b": _set(
        "year", lambda m: int(m[1])
    ),
    r"\b(under|below|less than|shorter than|fewer than|at most|up to|within|max(?:imum)?(?: of)?"
    rf"|no (?:longer|more) than|not (?:longer|more) than)\s+{_DURATION}": _at_most,
    r"\b(over|above|more than|longer than|at least|min(?:imum)?(?: of)?)\s+" + _DURATION: _at_least,
    r"\bshortest\b|\bshort\b(?=[\w\s-]*\b(?:film|movie|comed|drama|one))": _sort("shortest"),
    r"\blongest\b": _sort("longest"),
    r"\b(?:newest|latest|most recent)\b|\b(?:new|recent)\b(?=[\w\s-]*\b(?:film|movie|release))": (
        _sort("newest")
    ),
    r"\b(?:oldest|earliest)\b|\bold\b(?=[\w\s-]*\b(?:film|movie))": _sort("oldest"),
    r"\balphabetical(?:ly)?(?:\s+order)?\b": _sort("title"),
    r"\bhow many\b|\bnumber of\b|\bcount\b": _count,
    rf"\btop\s+{_SMALL}\b": _limit,
    rf"\b{_SMALL}\s+(?=(?:\S+\s+){{0,3}}?(?:films|movies)\b)": _limit,
}
_RULES = [(re.compile(pattern), note) for pattern, note in _ALL.items()]
