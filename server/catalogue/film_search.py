"""Searching films: by words, and where an index of meanings is there, by what they mean too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from string import ascii_lowercase, ascii_uppercase
from typing import Final, Protocol

from server.catalogue.domain import Film
from server.catalogue.film_filter import film_filter
from server.catalogue.search import MAX_TERM_BYTES, query_words
from server.catalogue.snippets import Snippet, Snippets, Sought
from server.catalogue.typos import may_be_mistyped, meant
from server.core.clock import Clock
from server.core.errors import DomainError, FieldViolation, ValidationFailed
from server.core.paging import Key, Page, PageRequest, cut_page
from server.query.filters import Fields, Filter

MAX_FUSED: Final = 1_000
"""Films of each ranking that a search by words and meaning looks at."""
_K: Final = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009)."""
_MOST: Final = 2 / (_K + 1)
_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
"""A-Z alone, since the databases differ in what else they fold."""


class Ranking(Enum):
    """What the order of a search goes by."""

    TEXT = auto()
    TEXT_AND_MEANING = auto()


@dataclass(frozen=True, slots=True)
class FilmMatch:
    """A film that a search found, in full, with the text that tells why.

    `score` is above 0 and at most 1, which a film has that has every word in its title. With
    `by_meaning` the film has none of the words.
    """

    film: Film
    score: float
    snippet: Snippet
    by_meaning: bool = False


@dataclass(frozen=True, slots=True)
class Ranked:
    """A film's place in a search by words; `score` is above 0 and at most 1."""

    film_id: int
    title: str
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """A page of films with their scores, and how many of the words any film has.

    An empty page does not tell that: `words` is 0 then.
    """

    page: Page[tuple[Film, float]]
    words: int


class Meaning(Protocol):
    """Tells which films mean what a query means."""

    async def ranks(self, query: str, limit: int) -> Sequence[tuple[int, float]]:
        """Return numbers of films and how near each comes, the nearest first, at most `limit`."""
        ...


class SearchRepository(Protocol):
    """What a search needs of a database. Deleted films are never found. Each call is one read."""

    async def search(
        self, sought: Sequence[Sought], title: str, page: PageRequest, where: Filter | None
    ) -> Found:
        """Return films with any of the words: score descending, title, number.

        A film of exactly this title, A-Z in lower case, comes before others of its score.
        """
        ...

    async def ranked(
        self, sought: Sequence[Sought], title: str, limit: int, where: Filter | None
    ) -> tuple[Sequence[Ranked], int]:
        """Return the first places of the same, and how many of the words any film has."""
        ...

    async def words_found(self, sought: Sequence[Sought]) -> set[int]:
        """Return the places of the words that any film has, deleted ones included."""
        ...

    async def similar(self, words: Sequence[str]) -> set[str]:
        """Return words of the index that may be one letter away from any of these."""
        ...

    async def titles(self, film_ids: Sequence[int], where: Filter | None) -> dict[int, str]:
        """Return the titles of those of the films that are there and meet the filter."""
        ...

    async def films(self, film_ids: Sequence[int]) -> dict[int, Film]:
        """Return films by number."""
        ...


class FilmSearch:
    """Searches films for a person's client or an agent's tool."""

    def __init__(
        self,
        repository: SearchRepository,
        fields: Fields,
        clock: Clock,
        meaning: Meaning | None = None,
    ) -> None:
        self._repository, self._fields, self._clock = repository, fields, clock
        self._meaning = meaning

    async def search_films(
        self, query: str, page: PageRequest, *, where: str = "", ranking: Ranking = Ranking.TEXT
    ) -> Page[FilmMatch]:
        """Return films that have any of the query's words, best first, equal ones by title.

        A word is looked for as a whole and as the beginning of a longer one; where no film has
        it so, then with one letter wrong.

        Raises:
            ValidationFailed: the query holds no word at all.
            DomainError: FILTER_*; RANKING_UNAVAILABLE, the server knows no meanings.
        """
        condition = film_filter(where, self._fields, page.time or self._clock())
        sought = _sought(query)
        if ranking is Ranking.TEXT:
            return await self._by_text(query, sought, page, condition)
        return await self._by_both(query, sought, page, condition)

    async def _by_text(
        self, query: str, sought: Sequence[Sought], page: PageRequest, where: Filter | None
    ) -> Page[FilmMatch]:
        if not sought:
            return Page([])
        title = _as_title(query)
        found = await self._repository.search(sought, title, page, where)
        if found.words < len(sought):
            corrected = await self._corrected(sought)
            if corrected != sought:
                sought = corrected
                found = await self._repository.search(sought, title, page, where)
        snippets = Snippets(sought)
        rows = [FilmMatch(film, score, snippets.of(film)) for film, score in found.page.rows]
        return Page(rows, found.page.next_after)

    async def _corrected(self, sought: Sequence[Sought]) -> Sequence[Sought]:
        """Return the words, with what may have been meant by those that no film has."""
        if not any(may_be_mistyped(each.word) for each in sought):
            return sought
        known = await self._repository.words_found(sought)
        wrong = [
            each.word
            for place, each in enumerate(sought)
            if place not in known and may_be_mistyped(each.word)
        ]
        if not wrong:
            return sought
        candidates = await self._repository.similar(wrong)
        return [
            replace(each, meant=meant(each.word, candidates)) if each.word in wrong else each
            for each in sought
        ]

    async def _by_both(
        self, query: str, sought: Sequence[Sought], page: PageRequest, where: Filter | None
    ) -> Page[FilmMatch]:
        """Fuse both rankings, anew for each page: the first MAX_FUSED of each."""
        if self._meaning is None:
            raise _unavailable()
        near = await self._meaning.ranks(query, MAX_FUSED)
        sought, by_text = await self._ranked(query, sought, where)
        numbers = [number for number, _ in near]
        titles = await self._repository.titles(numbers, where) if numbers else {}
        near_films = [number for number in numbers if number in titles]
        fused = _fused(_as_title(query), by_text, near_films, titles)
        rest = [each for each in fused if page.after is None or _place(each) > page.after]
        cut = cut_page(rest[: page.size + 1], page, _place)
        films = await self._repository.films([each.film_id for each in cut.rows])
        snippets = Snippets(sought)
        rows = [
            _fused_match(films[each.film_id], each.score, snippets)
            for each in cut.rows
            if each.film_id in films
        ]
        return Page(rows, cut.next_after)

    async def _ranked(
        self, query: str, sought: Sequence[Sought], where: Filter | None
    ) -> tuple[Sequence[Sought], Sequence[Ranked]]:
        if not sought:
            return sought, ()
        title = _as_title(query)
        ranked, words = await self._repository.ranked(sought, title, MAX_FUSED, where)
        if words < len(sought):
            corrected = await self._corrected(sought)
            if corrected != sought:
                sought = corrected
                ranked, _ = await self._repository.ranked(sought, title, MAX_FUSED, where)
        return sought, ranked


def _sought(query: str) -> Sequence[Sought]:
    words = query_words(query)
    if not words:
        raise ValidationFailed([FieldViolation("query", "must hold at least one word")])
    return [
        Sought(word.word, word.term)
        for word in words
        # A longer one is in no index, and PostgreSQL refuses it.
        if max(len(word.word.encode()), len(word.term.encode())) <= MAX_TERM_BYTES
    ]


def _as_title(query: str) -> str:
    """Return what a title in lower case must be for the query to name the film."""
    # PostgreSQL knows no text with a NUL in it, and so has no such title.
    return " ".join(query.replace("\0", " ").split()).translate(_LOWER)


def _fused_match(film: Film, score: float, snippets: Snippets) -> FilmMatch:
    snippet = snippets.of(film)
    return FilmMatch(film, score, snippet, by_meaning=not snippet.highlights)


def _unavailable() -> DomainError:
    return DomainError(
        "this server ranks by words alone: leave ranking out, or ask the operator to install the"
        " extra `semantic`",
        reason="RANKING_UNAVAILABLE",
        metadata={
            "ranking": "SEARCH_RANKING_TEXT_AND_MEANING",
            "allowed_rankings": "SEARCH_RANKING_TEXT",
        },
    )


def _fused(
    title: str, by_text: Sequence[Ranked], by_meaning: Sequence[int], titles: Mapping[int, str]
) -> list[Ranked]:
    """Return the films of both rankings by the sum of 1 / (60 + rank), as a share of the most.

    A film of exactly this title has the most: who names a film means it.
    """
    names = {each.film_id: each.title for each in by_text} | dict(titles)
    sums: dict[int, float] = {}
    for ranks in ([each.film_id for each in by_text], by_meaning):
        for rank, number in enumerate(ranks, start=1):
            sums[number] = sums.get(number, 0.0) + 1 / (_K + rank)
    for number in sums:
        if names[number].translate(_LOWER) == title:
            sums[number] = _MOST
    fused = [Ranked(number, names[number], total / _MOST) for number, total in sums.items()]
    return sorted(fused, key=_place)


def _place(each: Ranked) -> Key:
    # Strings compare by code point, as their bytes do in the databases.
    return (-each.score, each.title, each.film_id)
