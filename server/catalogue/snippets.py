"""The text of a film in which a search found most of its words, and where they stand in it."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from server.catalogue.domain import Film, Label
from server.catalogue.search import MIN_BEGINNING, stem, text_words

MAX_SNIPPET_BYTES: Final = 240
_CUT: Final = "\u2026"
_CUT_BYTES: Final = len(_CUT.encode())
_ROOM: Final = MAX_SNIPPET_BYTES - 2 * _CUT_BYTES
_BEFORE: Final = 60
"""Bytes of text that come before the first word found, where there are so many."""
_ACCENTS: Final = 12
"""Bytes of a long piece that are left for the accents of its last letter."""
_CHUNK = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Sought:
    """A word of a query: as written and folded, its stem, and the words it may be mistyped for."""

    word: str
    term: str
    meant: tuple[str, ...] = ()

    @property
    def terms(self) -> tuple[str, ...]:
        """The stems that a film may have for it."""
        return tuple(dict.fromkeys(stem(word) for word in self.meant)) or (self.term,)

    @property
    def beginning(self) -> str:
        """What a longer word may begin with; empty where it is too short for that."""
        return self.word if len(self.word) >= MIN_BEGINNING and not self.meant else ""


@dataclass(frozen=True, slots=True)
class Highlight:
    """A part of a snippet, in bytes of its UTF-8 form: the first, and the one behind the last."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Snippet:
    """A text, the path of the field that it is of, and the places of the words found, in order."""

    text: str
    field: str
    highlights: tuple[Highlight, ...] = ()


@dataclass(frozen=True, slots=True)
class _Hit:
    """Characters of a text that are a word found, and which of the words sought it is."""

    start: int
    end: int
    sought: frozenset[int]


def _names(labels: Sequence[Label]) -> str:
    return ", ".join(label.text.strip() for label in labels)


_TEXTS: Final[Mapping[str, Callable[[Film], str]]] = {
    "title": lambda film: film.title,
    "labels.categories": lambda film: _names(film.categories),
    "labels.actors": lambda film: _names(film.actors),
    "description": lambda film: film.description,
}
"""By path, in the order of what they count: the first one with the most words is shown."""


class Snippets:
    """Makes the snippets of one search. A film without any of the words shows its description."""

    def __init__(self, sought: Sequence[Sought]) -> None:
        self._all = len(sought)
        self._terms: dict[str, set[int]] = {}
        self._beginnings = [(each.beginning, n) for n, each in enumerate(sought) if each.beginning]
        for number, each in enumerate(sought):
            for term in each.terms:
                self._terms.setdefault(term, set()).add(number)

    def of(self, film: Film) -> Snippet:
        """Return the film's snippet; of a title the whole, of other texts MAX_SNIPPET_BYTES."""
        best, found, most = "", [], 0
        for field, text_of in _TEXTS.items():
            hits = self._hits(text_of(film))
            count = len(frozenset().union(*(hit.sought for hit in hits)))
            if count > most:
                best, found, most = field, hits, count
            if most == self._all:
                break
        field = best or ("description" if film.description else "title")
        text = _TEXTS[field](film)
        return _whole(text, field, found) if field == "title" else _part(text, field, found)

    def _hits(self, text: str) -> list[_Hit]:
        hits = []
        for place in text_words(text):
            sought = self._terms.get(stem(place.word), set()) | {
                number for begins, number in self._beginnings if place.word.startswith(begins)
            }
            if sought:
                hits.append(_Hit(place.start, place.end, frozenset(sought)))
        return hits


def _whole(text: str, field: str, hits: Sequence[_Hit]) -> Snippet:
    return Snippet(text, field, _highlights(text, 0, len(text), hits))


def _part(text: str, field: str, hits: Sequence[_Hit]) -> Snippet:
    if len(text.encode()) <= MAX_SNIPPET_BYTES:
        return _whole(text, field, hits)
    chunks = _chunks(text)
    first, last = _window(text, chunks, hits)
    start, end = chunks[first][0], chunks[last][1]
    before = _CUT if first > 0 else ""
    after = _CUT if last < len(chunks) - 1 else ""
    shift = len(before.encode())
    marks = _highlights(text, start, end, hits)
    return Snippet(
        before + text[start:end] + after,
        field,
        tuple(Highlight(mark.start + shift, mark.end + shift) for mark in marks),
    )


def _highlights(text: str, start: int, end: int, hits: Sequence[_Hit]) -> tuple[Highlight, ...]:
    """Return the hits within these characters, in bytes from the first of them."""
    marks, place, offset = [], start, 0
    for hit in hits:
        left, right = max(hit.start, start), min(hit.end, end)
        if left >= right:
            continue
        offset += len(text[place:left].encode())
        size = len(text[left:right].encode())
        marks.append(Highlight(offset, offset + size))
        place, offset = right, offset + size
    return tuple(marks)


def _chunks(text: str) -> list[tuple[int, int]]:
    """Return what stands between blanks; what is too long by itself in pieces."""
    chunks: list[tuple[int, int]] = []
    for found in _CHUNK.finditer(text):
        start, size = found.start(), 0
        for place in range(found.start(), found.end()):
            size += len(text[place].encode())
            # A letter keeps the accents that stand behind it, if they are not too many.
            begins = not unicodedata.combining(text[place])
            if size > (_ROOM - _ACCENTS if begins else _ROOM):
                chunks.append((start, place))
                start, size = place, len(text[place].encode())
        chunks.append((start, found.end()))
    return chunks


def _window(text: str, chunks: Sequence[tuple[int, int]], hits: Sequence[_Hit]) -> tuple[int, int]:
    """Return the first and the last chunk of the part that has most of the words."""

    def size(first: int, last: int) -> int:
        return len(text[chunks[first][0] : chunks[last][1]].encode())

    first, last = _densest(chunks, hits, size)
    context = 0
    while first > 0 and size(first - 1, last) <= _ROOM and context < _BEFORE:
        first -= 1
        context += size(first, first) + 1
    while last < len(chunks) - 1 and size(first, last + 1) <= _ROOM:
        last += 1
    while first > 0 and size(first - 1, last) <= _ROOM:
        first -= 1
    return first, last


def _densest(
    chunks: Sequence[tuple[int, int]], hits: Sequence[_Hit], size: Callable[[int, int], int]
) -> tuple[int, int]:
    """Return the chunks from one hit to another with most of the words, the first such."""
    best, most = (0, 0), 0
    places = _places(chunks, hits)
    for number, first in enumerate(places):
        words: frozenset[int] = frozenset()
        for last, hit in zip(places[number:], hits[number:], strict=True):
            if size(first, last) > _ROOM:
                break
            words |= hit.sought
            if len(words) > most:
                best, most = (first, last), len(words)
    return best


def _places(chunks: Sequence[tuple[int, int]], hits: Sequence[_Hit]) -> list[int]:
    """Return in which chunk each hit begins."""
    places, chunk = [], 0
    for hit in hits:
        while chunks[chunk][1] <= hit.start:
            chunk += 1
        places.append(chunk)
    return places
