"""The rules of the fields of a Film that a caller can set."""

import unicodedata
from decimal import Decimal
from typing import Annotated, Any, Final

from google.type.money_pb2 import Money
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from server.catalogue.film_rules import RENTAL_DURATION_DAYS, RENTAL_RATE, REPLACEMENT_COST
from server.catalogue.mapping import FEATURES, RATINGS, number_of
from server.generated.interview.catalogue.v1 import resources_pb2

MAX_TITLE: Final = 255
MAX_DESCRIPTION: Final = 10_000
MAX_FEATURES: Final = 16
MAX_CATEGORIES: Final = 32
MAX_ACTORS: Final = 256
MAX_RATE: Final = Decimal("99.99")
MAX_COST: Final = Decimal("999.99")

_NANOS_PER_CENT: Final = 10_000_000
_CENTS_PER_UNIT: Final = 100
_NOT_IN_A_LINE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, halves of characters, ends of lines and of paragraphs."""


def _title(text: str) -> str:
    if text and not text.strip():
        raise ValueError("must not be blank")
    if any(unicodedata.category(character) in _NOT_IN_A_LINE for character in text):
        raise ValueError("must not contain control characters")
    return text


def _description(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _number(name: str, collection: str) -> int:
    number = number_of(name, collection)
    if number is None:
        raise ValueError(f"must be a name like {collection}/17")
    return number


def _required_language(name: str) -> int:
    if not name:
        raise ValueError("must be set")
    return _number(name, "languages")


def _optional_language(name: str) -> int | None:
    return _number(name, "languages") if name else None


def _reference(collection: str) -> BeforeValidator:
    return BeforeValidator(lambda name: _number(name, collection))


def _amount(most: Decimal, otherwise: Decimal) -> BeforeValidator:
    """Read a Money in whole cents, without a float on the way; none is the default."""

    def read(money: Money | None) -> Decimal:
        if money is None:
            return otherwise
        if money.currency_code != "USD":
            raise ValueError("must be in US dollars: currency_code USD")
        if money.nanos % _NANOS_PER_CENT:
            raise ValueError("must be in whole cents: nanos a multiple of 10000000")
        cents = money.units * _CENTS_PER_UNIT + money.nanos // _NANOS_PER_CENT
        if money.units * money.nanos < 0 or abs(money.nanos) >= _CENTS_PER_UNIT * _NANOS_PER_CENT:
            raise ValueError("must have units and nanos of one sign, nanos of less than a dollar")
        amount = Decimal(cents).scaleb(-2)
        if not 0 < amount <= most:
            raise ValueError(f"must be from 0.01 to {most}")
        return amount

    return BeforeValidator(read)


def _days(days: int) -> int:
    return days or RENTAL_DURATION_DAYS


def _rating(value: int) -> str | None:
    if not value:
        return None
    if value not in _RATINGS:
        raise ValueError(f"must be one of {_RATING_NAMES} (or unspecified)")
    return _RATINGS[value]


def _feature(value: int) -> str:
    if value not in _FEATURES:
        raise ValueError(f"must be one of {_FEATURE_NAMES}")
    return _FEATURES[value]


def _without_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must not have the same item twice")
    return values


_RATINGS: Final[dict[int, str]] = {number: text for text, number in RATINGS.items()}
_FEATURES: Final[dict[int, str]] = {number: text for text, number in FEATURES.items()}
_RATING_NAMES: Final = ", ".join(map(resources_pb2.FilmRating.Name, RATINGS.values()))
_FEATURE_NAMES: Final = ", ".join(map(resources_pb2.SpecialFeature.Name, FEATURES.values()))
_Unique = AfterValidator(_without_repeats)


class SentFields(BaseModel):
    """Rules of the fields of a Film that can be set; those that are given are set."""

    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE), AfterValidator(_title)] = ""
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION), AfterValidator(_description)] = (
        ""
    )
    release_year: Annotated[int | None, Field(ge=1901, le=2155)] = None
    language: Annotated[int, BeforeValidator(_required_language)] = 0
    original_language: Annotated[int | None, BeforeValidator(_optional_language)] = None
    rental_duration_days: Annotated[int, Field(ge=0, le=365), AfterValidator(_days)] = 0
    rental_rate: Annotated[Decimal, _amount(MAX_RATE, RENTAL_RATE)] = RENTAL_RATE
    length_minutes: Annotated[int | None, Field(ge=1, le=32_767)] = None
    replacement_cost: Annotated[Decimal, _amount(MAX_COST, REPLACEMENT_COST)] = REPLACEMENT_COST
    rating: Annotated[str | None, BeforeValidator(_rating)] = None
    special_features: Annotated[
        tuple[Annotated[str, BeforeValidator(_feature)], ...],
        Field(max_length=MAX_FEATURES),
        _Unique,
    ] = ()
    streaming_available: bool = False
    categories: Annotated[
        tuple[Annotated[int, _reference("categories")], ...],
        Field(max_length=MAX_CATEGORIES),
        _Unique,
    ] = ()
    actors: Annotated[
        tuple[Annotated[int, _reference("actors")], ...],
        Field(max_length=MAX_ACTORS),
        _Unique,
    ] = ()
