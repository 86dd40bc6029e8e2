"""Words of a text as the search index keeps them: the same on every database.

Both the index and the query go through `search_terms`, so SQLite and PostgreSQL, whose own
stemmers and accent rules differ, find the same films for the same query.
"""

import re
import unicodedata
from functools import lru_cache

from snowballstemmer import stemmer

MAX_TERMS = 32
"""A query's words beyond these are not looked at."""

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = str.maketrans("", "", "'\u2019")
_STOP_WORDS = frozenset(
    """a about an and any are as at be by can do does film films find for from give has have i in
    is it its like list me movie movies of on or please search show some that the there these they
    this to was what where which who with you""".split()  # noqa: SIM905  # prose, not a list
)


def index_terms(text: str) -> list[str]:
    """Return every word of a text, folded and stemmed, repeats and stop words included."""
    return [_stem(word) for word in _WORD.findall(_fold(text))]


def search_terms(query: str) -> list[str]:
    """Return a query's distinct words in order, without stop words unless it holds no others.

    At most MAX_TERMS.
    """
    words = list(dict.fromkeys(_WORD.findall(_fold(query))))
    telling = [word for word in words if word not in _STOP_WORDS] or words
    return list(dict.fromkeys(_stem(word) for word in telling))[:MAX_TERMS]


def _fold(text: str) -> str:
    """Lower-case, drop accents (Amélie = amelie) and apostrophes (it's = its)."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_APOSTROPHES))
    return "".join(char for char in decomposed if not unicodedata.combining(char))


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    # A stemmer object keeps state between its steps, so each call has its own.
    return str(stemmer("english").stemWord(word))
