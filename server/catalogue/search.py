"""Words of a text as the search index keeps them: the same on every database.

Both the index and the query go through here, so SQLite and PostgreSQL, whose own stemmers and
accent rules differ, find the same films for the same query.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from snowballstemmer import stemmer

MAX_TERMS: Final = 32
"""A query's words beyond these are not looked at."""
MAX_TEXT_CHARACTERS: Final = 50_000
"""Of a longer text the rest is not found."""
MAX_TEXT_BYTES: Final = 100_000
"""Nor what comes after words of so many bytes: a film's four texts, each word twice, stay below
the 1 MiB that PostgreSQL's tsvector holds."""
MAX_TERM_BYTES: Final = 2043
"""A longer word is not found: PostgreSQL's tsvector takes 2 046 bytes, of which MARK has 3."""
MIN_BEGINNING: Final = 3
"""The least letters of a word that may be the beginning of a longer one."""
MARK: Final = "\ue000"
"""Stands before a whole word in the index, which holds its stem too. No word holds it: to both
databases it is a letter, to us it is none."""

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = str.maketrans("", "", "'\u2019")
_STOP_WORDS = frozenset(
    """a about an and any are as at be by can do does film films find for from give has have i in
    is it its like list me movie movies of on or please search show some that the there these they
    this to was what where which who with you""".split()  # noqa: SIM905  # prose, not a list
)


@dataclass(frozen=True, slots=True)
class QueryWord:
    """A word of a query as it was written, folded, and its stem."""

    word: str
    term: str


@dataclass(frozen=True, slots=True)
class TextWord:
    """A word of a text, folded, and the characters that it is made of."""

    word: str
    start: int
    end: int


def index_terms(text: str) -> list[str]:
    """Return every word of a text, folded and stemmed, repeats and stop words included."""
    return [stem(word) for word in _WORD.findall(_fold(text))]


def indexed_words(text: str) -> list[str]:
    """Return the words of a text that the index has, folded; repeats and stop words included."""
    words, room = [], MAX_TEXT_BYTES
    for word in _WORD.findall(_fold(text[:MAX_TEXT_CHARACTERS])):
        size = len(word) if word.isascii() else len(word.encode())
        if size > MAX_TERM_BYTES:
            continue
        room -= size
        if room < 0:
            break
        words.append(word)
    return words


def indexed_terms(text: str) -> list[str]:
    """Return the stems of a text that the index has: what a filter's search looks for."""
    return [stem(word) for word in indexed_words(text)]


def search_terms(query: str) -> list[str]:
    """Return a query's distinct words in order, without stop words unless it holds no others.

    At most MAX_TERMS.
    """
    return [word.term for word in query_words(query)]


def query_words(query: str) -> list[QueryWord]:
    """Return a query's words in order, without stop words unless it holds no others.

    At most MAX_TERMS, each stem once; of words with the same stem the first.
    """
    words = list(dict.fromkeys(_WORD.findall(_fold(query))))
    telling = [word for word in words if word not in _STOP_WORDS] or words
    by_stem: dict[str, QueryWord] = {}
    for word in telling:
        term = stem(word)
        by_stem.setdefault(term, QueryWord(word, term))
    return list(by_stem.values())[:MAX_TERMS]


def text_words(text: str) -> Iterator[TextWord]:
    """Yield the words of a text with their places, from left to right, none within another."""
    folded, places = _placed(text)
    last = 0
    for found in _WORD.finditer(folded):
        start, end = places[found.start()], places[found.end() - 1] + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1  # an accent that stands alone belongs to the letter before it
        if start < last:
            continue  # one character may hold two words, as the fractions do
        last = end
        yield TextWord(found[0], start, end)


def _placed(text: str) -> tuple[str, range | list[int]]:
    """Return the folded text, and for each of its characters where it comes from."""
    if text.isascii() and "'" not in text:
        return text.lower(), range(len(text))
    parts = [_fold(character) for character in text]
    return "".join(parts), [place for place, part in enumerate(parts) for _ in part]


def _fold(text: str) -> str:
    """Lower-case, drop accents (Amélie = amelie) and apostrophes (it's = its)."""
    if text.isascii():
        return text.lower().translate(_APOSTROPHES)
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_APOSTROPHES))
    return "".join(char for char in decomposed if not unicodedata.combining(char))


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return the stem of a folded word."""
    # A stemmer object keeps state between its steps, so each call has its own.
    return str(stemmer("english").stemWord(word))
