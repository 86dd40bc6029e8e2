"""The films that ship with the server: facts in films.toml and the reader that checks them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

_RATINGS = frozenset({"G", "PG", "PG-13", "R", "NC-17"})
_REQUIRED = ("title", "year", "minutes", "language", "actors", "categories", "description")
_KEYS = frozenset({*_REQUIRED, "rating"})
_YEARS = range(1901, 2156)  # Pagila's domain "year"
_MINUTES = range(1, 1001)
_CATEGORY_LENGTH = 25  # Pagila's category.name


@dataclass(frozen=True, slots=True)
class SampleFilm:
    """One film of the sample catalogue.

    `year` is the year of first release, `minutes` the running time, `rating` the MPA rating or
    None, `actors` holds (given name, family name) pairs, `categories` one to three names.
    """

    title: str
    year: int
    rating: str | None
    minutes: int
    language: str
    actors: tuple[tuple[str, str], ...]
    categories: tuple[str, ...]
    description: str


def read_sample_films() -> tuple[SampleFilm, ...]:
    """Return the films that ship with the server, in the order of the file (by title).

    Blocks on the disk and on parsing: in async code call it in a thread.
    Raises ValueError, naming film and key, if the file is broken.
    """
    file = resources.files(__name__).joinpath("films.toml")
    return parse_sample_films(file.read_text(encoding="utf-8"))


def parse_sample_films(text: str) -> tuple[SampleFilm, ...]:
    """Return the films of `text`, a TOML document of `[[film]]` tables, in its order.

    The keys are described at the head of films.toml. Raises ValueError naming the film and the
    key for a missing, unknown or wrong value, for a second film of the same title and year, and
    (as tomllib.TOMLDecodeError, with line and column) for text that is not TOML.
    """
    document: dict[str, object] = tomllib.loads(text)
    entries = document.get("film")
    if document.keys() != {"film"} or not isinstance(entries, list):
        raise ValueError("the document must consist of [[film]] tables")
    films: dict[tuple[str, int], SampleFilm] = {}
    for position, entry in enumerate(entries, start=1):
        film = _film(entry, position)
        if (film.title, film.year) in films:
            raise ValueError(f"film {film.title!r}: year: {film.year} is listed twice")
        films[film.title, film.year] = film
    return tuple(films.values())


def _film(entry: object, position: int) -> SampleFilm:
    if not isinstance(entry, dict) or not entry.keys() >= {"title"}:
        raise ValueError(f"film number {position}: title: is missing")
    fields = _Fields(entry, f"number {position}")
    title = fields.text("title")
    fields = _Fields(entry, repr(title))
    fields.check_keys()
    return SampleFilm(
        title=title,
        year=fields.integer("year", _YEARS),
        rating=fields.rating(),
        minutes=fields.integer("minutes", _MINUTES),
        language=fields.text("language"),
        actors=fields.actors(),
        categories=fields.categories(),
        description=fields.text("description"),
    )


class _Fields:
    """Typed access to one `[[film]]` table; every refusal names the film and the key."""

    def __init__(self, entry: Mapping[str, object], name: str) -> None:
        self._entry = entry
        self._name = name

    def check_keys(self) -> None:
        unknown = sorted(self._entry.keys() - _KEYS)
        if unknown:
            raise self._refusal(unknown[0], "is not a known key")
        missing = [key for key in _REQUIRED if key not in self._entry]
        if missing:
            raise self._refusal(missing[0], "is missing")

    def text(self, key: str) -> str:
        value = self._entry[key]
        if not isinstance(value, str) or not value or value != value.strip():
            raise self._refusal(key, "must be text without space around it")
        return value

    def integer(self, key: str, allowed: range) -> int:
        value = self._entry[key]
        # TOML's true is a Python int, and 1.0 compares equal to 1: ask for the exact type.
        if type(value) is not int or value not in allowed:
            raise self._refusal(key, f"must be a whole number {allowed[0]} to {allowed[-1]}")
        return value

    def rating(self) -> str | None:
        if "rating" not in self._entry:
            return None
        value = self.text("rating")
        if value not in _RATINGS:
            raise self._refusal("rating", f"must be one of {', '.join(sorted(_RATINGS))}")
        return value

    def actors(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._split(name) for name in self._names("actors", range(2, 5)))

    def categories(self) -> tuple[str, ...]:
        names = self._names("categories", range(1, 4))
        if any(len(name) > _CATEGORY_LENGTH for name in names):
            raise self._refusal("categories", f"must be at most {_CATEGORY_LENGTH} characters each")
        return names

    def _names(self, key: str, allowed: range) -> tuple[str, ...]:
        value = self._entry[key]
        if not isinstance(value, list) or len(value) not in allowed:
            raise self._refusal(key, f"must be a list of {allowed[0]} to {allowed[-1]} names")
        names = tuple(name for name in value if isinstance(name, str) and name.strip())
        if len(set(names)) != len(value):
            raise self._refusal(key, "must be different, non-empty texts")
        return names

    def _split(self, name: str) -> tuple[str, str]:
        separator = "|" if "|" in name else " "
        given, _, family = (part.strip() for part in name.rpartition(separator))
        if not given or not family or "|" in given:
            raise self._refusal("actors", f"{name!r} must have a given and a family name")
        return given, family

    def _refusal(self, key: str, reason: str) -> ValueError:
        return ValueError(f"film {self._name}: {key}: {reason}")
