"""What is called, and what the right answer is, worked out from the sample films' file."""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from server.catalogue.sample import SampleFilm
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2

_SERVICE = "/interview.catalogue.v1.CatalogueService"
_PAGE = 50
_GOTTEN = 64
_QUERY = "city"
_FOUND = re.compile(r"\bcit(y|ies)\b", re.IGNORECASE)
_IN_TITLE, _IN_DESCRIPTION = 3, 2


@dataclass(frozen=True, slots=True)
class Scenario:
    """One method with requests that are serialized already and the titles of each answer."""

    name: str
    method: str
    requests: tuple[bytes, ...]
    expected: tuple[tuple[str, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Return what the load generator needs."""
        return {
            "method": f"{_SERVICE}/{self.method}",
            "reader": self.method,
            "requests": [base64.b64encode(request).decode() for request in self.requests],
            "expected": [list(titles) for titles in self.expected],
        }


def _film_titles(raw: bytes) -> list[str]:
    return [resources_pb2.Film.FromString(raw).title]


def _page_titles(raw: bytes) -> list[str]:
    return [film.title for film in film_pb2.ListFilmsResponse.FromString(raw).films]


def _match_titles(raw: bytes) -> list[str]:
    return [match.film.title for match in film_pb2.SearchFilmsResponse.FromString(raw).matches]


READERS: dict[str, Callable[[bytes], list[str]]] = {
    "GetFilm": _film_titles,
    "ListFilms": _page_titles,
    "SearchFilms": _match_titles,
}
"""How each method's answer is read to be checked."""


def scenarios(films: Sequence[SampleFilm]) -> tuple[Scenario, ...]:
    """Return all scenarios over a catalogue that holds exactly these films, numbered from 1."""
    numbers = range(1, len(films) + 1, max(1, len(films) // _GOTTEN))
    get = [film_pb2.GetFilmRequest(name=f"films/{number}") for number in numbers]
    gotten = [(films[number - 1].title,) for number in numbers]
    page = tuple(film.title for film in films[:_PAGE])
    full = film_pb2.ListFilmsRequest(page_size=_PAGE, view=resources_pb2.FILM_VIEW_FULL)
    search = film_pb2.SearchFilmsRequest(query=_QUERY)
    return (
        _scenario("GetFilm FULL", "GetFilm", get, gotten),
        _scenario(
            "ListFilms(50) BASIC",
            "ListFilms",
            [film_pb2.ListFilmsRequest(page_size=_PAGE)],
            [page],
        ),
        _scenario("ListFilms(50) FULL", "ListFilms", [full], [page]),
        _scenario("SearchFilms BASIC", "SearchFilms", [search], [_search_titles(films)]),
    )


def _scenario(
    name: str, method: str, requests: Sequence[Message], expected: Sequence[tuple[str, ...]]
) -> Scenario:
    raw = tuple(request.SerializeToString() for request in requests)
    return Scenario(name, method, raw, tuple(expected))


def _search_titles(films: Sequence[SampleFilm]) -> tuple[str, ...]:
    """Return the titles of the films with the word: those with it in the title first."""
    found = []
    for number, film in enumerate(films, start=1):
        if _FOUND.search(film.title):
            found.append((-_IN_TITLE, film.title.encode(), number))
        elif _FOUND.search(film.description):
            found.append((-_IN_DESCRIPTION, film.title.encode(), number))
    return tuple(title.decode() for _, title, _ in sorted(found))
