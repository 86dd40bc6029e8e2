"""A film as options and JSON say it."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from interview_client.catalogue import Catalogue
from interview_client.film_changes import SETTABLE
from interview_client.messages import Film, FilmRating, Money, SpecialFeature

from . import filters
from .failures import USAGE, Failure
from .references import actor_called, category_called, language_called

LARGEST = 2**31 - 1
"""What the whole numbers of a film can hold."""

FEATURES = [str(one.name).lower().replace("_", "-") for one in SpecialFeature if one]

Title = Annotated[str | None, typer.Option("--title", help="1 to 255 characters.")]
Description = Annotated[str | None, typer.Option("--description", help="What it is about.")]
Year = Annotated[int | None, typer.Option("--year", min=0, max=LARGEST, help="Year of release.")]
Language = Annotated[str | None, typer.Option("--language", help="As English or languages/1.")]
Original = Annotated[
    str | None, typer.Option("--original-language", help="Spoken before dubbing, as French.")
]
Categories = Annotated[
    list[str] | None,
    typer.Option("--category", help="As Horror or categories/11; may be given repeatedly."),
]
Actors = Annotated[
    list[str] | None,
    typer.Option("--actor", help='As "Jeff Goldblum" or actors/1; may be given repeatedly.'),
]
Rating = Annotated[
    str | None, typer.Option("--rating", help="One of " + ", ".join(filters.RATINGS) + ".")
]
Length = Annotated[
    int | None, typer.Option("--length", min=0, max=LARGEST, help="Running time in minutes.")
]
Days = Annotated[
    int | None, typer.Option("--days", min=0, max=LARGEST, help="How long a rental lasts.")
]
Rate = Annotated[str | None, typer.Option("--rate", help="Fee for a rental in dollars, as 2.99.")]
Cost = Annotated[str | None, typer.Option("--cost", help="What a lost copy costs, as 19.99.")]
Features = Annotated[
    list[str] | None,
    typer.Option(
        "--feature",
        help="One of " + ", ".join(FEATURES) + "; may be given repeatedly.",
    ),
]
Streaming = Annotated[
    bool | None,
    typer.Option("--streaming/--no-streaming", help="Whether it can be streamed."),
]
File = Annotated[
    str,
    typer.Option("--file", metavar="FILE", help="A film in JSON, - for standard input."),
]

_OPTIONS = (
    ("title", "title", "--title"),
    ("description", "description", "--description"),
    ("year", "release_year", "--year"),
    ("language", "language", "--language"),
    ("original_language", "original_language", "--original-language"),
    ("categories", "categories", "--category"),
    ("actors", "actors", "--actor"),
    ("rating", "rating", "--rating"),
    ("length", "length_minutes", "--length"),
    ("days", "rental_duration_days", "--days"),
    ("rate", "rental_rate", "--rate"),
    ("cost", "replacement_cost", "--cost"),
    ("features", "special_features", "--feature"),
    ("streaming", "streaming_available", "--streaming"),
)
"""Attributes of FilmOptions, the fields of a film, and how the options are called."""
_DOLLARS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,2})?")


@dataclass(frozen=True, slots=True)
class FilmOptions:
    """The options about a film; None: not given."""

    title: str | None = None
    description: str | None = None
    year: int | None = None
    language: str | None = None
    original_language: str | None = None
    categories: Sequence[str] | None = None
    actors: Sequence[str] | None = None
    rating: str | None = None
    length: int | None = None
    days: int | None = None
    rate: str | None = None
    cost: str | None = None
    features: Sequence[str] | None = None
    streaming: bool | None = None

    async def onto(self, film: Film, calls: Catalogue) -> list[str]:
        """Set what is given on the film, and return which fields that are. Raises Failure."""
        plain: Mapping[str, Any] = {
            "title": self.title,
            "description": self.description,
            "release_year": self.year,
            "length_minutes": self.length,
            "rental_duration_days": self.days,
            "streaming_available": self.streaming,
            "rental_rate": _money("--rate", self.rate),
            "replacement_cost": _money("--cost", self.cost),
            "rating": _rating(self.rating),
            "special_features": _features(self.features),
            **await self._references(calls),
        }
        given = {name: value for name, value in plain.items() if value is not None}
        for name, value in given.items():
            setattr(film, name, value)
        return list(given)

    async def _references(self, calls: Catalogue) -> Mapping[str, Any]:
        references: dict[str, Any] = {}
        if self.language:
            references["language"] = await language_called(calls, self.language)
        if self.original_language is not None:
            original = self.original_language
            references["original_language"] = original and await language_called(calls, original)
        if self.categories is not None:
            names = [await category_called(calls, text) for text in self.categories if text]
            references["categories"] = names
        if self.actors is not None:
            references["actors"] = [await actor_called(calls, text) for text in self.actors if text]
        return references

    @property
    def is_empty(self) -> bool:
        """Whether no option is given."""
        return not self.given

    @property
    def given(self) -> Mapping[str, str]:
        """The fields of a film that are given, and the option of each."""
        return {
            field: option for name, field, option in _OPTIONS if getattr(self, name) is not None
        }


def film_of_json(text: str) -> tuple[Film, list[str]]:
    """Return a film and which of its fields the JSON sets. Raises ValueError with what is wrong."""
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError("not a film: a JSON object must be there")  # noqa: TRY004  # no bug of ours
    try:
        film = Film.from_dict(values)
        # What has the wrong type is met when it is written.
        bytes(film)
        _check_numbers(film)
    except KeyError as error:
        raise ValueError(str(error.args[0])) from error
    except (AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"not a film: {error}") from error
    given = {_snake(name) for name in values}
    return film, [name for name in SETTABLE if name in given]


def _check_numbers(film: Film) -> None:
    # What is too large would be written all the same, and read as another number.
    for name in ("release_year", "rental_duration_days", "length_minutes"):
        if abs(getattr(film, name) or 0) > LARGEST:
            raise ValueError(f"{name} is too large")
    for name in ("rental_rate", "replacement_cost"):
        money = getattr(film, name) or Money()
        if abs(money.nanos) > LARGEST or abs(money.units) > LARGEST:
            raise ValueError(f"{name} is too large")


def read_film(file: str) -> tuple[Film, list[str]]:
    """Return the film in a file, "-" for standard input. Raises Failure."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        return film_of_json(text)
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}") from error
    except UnicodeError as error:
        raise Failure(f"{file} is not UTF-8") from error
    except ValueError as error:
        raise Failure(f"{'standard input' if file == '-' else file}: {error}", USAGE) from error


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _money(option: str, text: str | None) -> Money | None:
    if text is None:
        return None
    if not _DOLLARS.fullmatch(text):
        raise Failure(f"{option} must be dollars and cents, as 2.99, not {text}", USAGE)
    dollars, _, cents = text.partition(".")
    return Money(
        currency_code="USD", units=int(dollars), nanos=int(cents.ljust(2, "0")) * 10_000_000
    )


def _rating(text: str | None) -> FilmRating | None:
    if text is None:
        return None
    try:
        return FilmRating[filters.rating(text)] if text else FilmRating.UNSPECIFIED
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--rating") from error


def _features(texts: Sequence[str] | None) -> list[SpecialFeature] | None:
    if texts is None:
        return None
    found = []
    for text in filter(None, texts):
        try:
            found.append(SpecialFeature[text.strip().upper().replace("-", "_")])
        except KeyError as error:
            raise Failure(
                f"there is no feature {text}; there are: {', '.join(FEATURES)}", USAGE
            ) from error
    return found
