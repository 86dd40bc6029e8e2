"""Recognises the catalogue's names in free text."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from server.catalogue.domain import CatalogueNames, Label

_WORD = re.compile(r"[^\W_]+")
_MAX_WORDS = 8

_CATEGORY_ALIASES = {
    "science fiction": "Sci-Fi",
    "scifi": "Sci-Fi",
    "animated": "Animation",
    "cartoon": "Animation",
    "cartoons": "Animation",
    "kids": "Children",
    "childrens": "Children",
    "children s": "Children",
    "kid": "Children",
    "funny": "Comedy",
    "comic": "Comedy",
    "scary": "Horror",
    "musical": "Music",
    "musicals": "Music",
}
_NEVER_BARE = frozenset({"new"})
"""Category names that are ordinary words: they count only beside `category` or in quotes."""

_PERSON_CUES = frozenset(
    _WORD.findall("with starring stars star by actor actress featuring plays play has mr ms mrs")
)
_TITLE_CUES = frozenset(_WORD.findall("called titled named film movie about title is in like"))
_FILM_NOUNS = frozenset(_WORD.findall("film films movie movies"))
_YEAR_FOLLOWS = re.compile(r"\W{0,2} \(\d{4}\)")
_NUMBER_PRECEDES = re.compile(r"(?:^|\n)\d+\. $")


class Kind(StrEnum):
    """What a name is of."""

    TITLE = "title"
    ACTOR = "actor"
    CATEGORY = "category"
    LANGUAGE = "language"


@dataclass(frozen=True, slots=True)
class Mention:
    """A name found in a text."""

    kind: Kind
    label: Label


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int
    shape: str


class Gazetteer:
    """Every name of the catalogue by its words, folded."""

    def __init__(self, names: CatalogueNames) -> None:
        self._phrases: dict[tuple[str, ...], Mention] = {}
        self._family_names: dict[str, Mention] = {}
        # What is added later does not replace what is there: a title wins over a category.
        for title in names.titles:
            self._add(title.text, Mention(Kind.TITLE, title))
        for actor in names.actors:
            self._add_actor(actor)
        for category in names.categories:
            for spelling in _spellings(category.text.strip()):
                self._add(spelling, Mention(Kind.CATEGORY, category))
        for language in names.languages:
            self._add(language.text, Mention(Kind.LANGUAGE, language))

    def find(self, text: str) -> tuple[list[Mention], str]:
        """Return the names in order, longest first where they overlap, and the text without.

        `comedies` leaves `films` behind: what is said about them, as `three short`, stays true.
        """
        words = _words(text)
        mentions: list[Mention] = []
        kept: list[str] = []
        position, copied = 0, 0
        while position < len(words):
            found = self._at(words, position, text)
            if found is None:
                position += 1
                continue
            mention, length = found
            mentions.append(mention)
            kept.append(text[copied : words[position].start])
            kept += ["films"] if mention.kind is Kind.CATEGORY else []
            position += length
            copied = words[position - 1].end
        return mentions, " ".join([*kept, text[copied:]])

    def titles_in(self, text: str) -> list[Label]:
        """Return the films whose titles the text names."""
        return [mention.label for mention in self.find(text)[0] if mention.kind is Kind.TITLE]

    def _add(self, text: str, mention: Mention) -> None:
        words = tuple(word.text for word in _words(text))
        if 0 < len(words) <= _MAX_WORDS:
            self._phrases.setdefault(words, mention)

    def _add_actor(self, actor: Label) -> None:
        self._add(actor.text, Mention(Kind.ACTOR, actor))
        words = _words(actor.text)
        if len(words) > 1:
            family = actor.text[words[-1].start :].strip()
            name = Mention(Kind.ACTOR, Label(0, family))
            self._family_names.setdefault(words[-1].text, name)

    def _at(self, words: list[_Word], position: int, text: str) -> tuple[Mention, int] | None:
        for length in range(min(_MAX_WORDS, len(words) - position), 0, -1):
            phrase = tuple(word.text for word in words[position : position + length])
            mention = self._phrases.get(phrase)
            if mention is not None and (
                length > 1 or _stands_alone(words, position, mention, text)
            ):
                return mention, length
        family = self._family_names.get(words[position].text)
        before = words[position - 1].text if position else ""
        return (family, 1) if family is not None and before in _PERSON_CUES else None


def fold(text: str) -> str:
    """Return the text in lower case without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def _words(text: str) -> list[_Word]:
    return [
        _Word(fold(found[0]), found.start(), found.end(), found[0])
        for found in _WORD.finditer(text)
    ]


def _spellings(category: str) -> Iterator[str]:
    yield category
    yield category + "s"
    if category.endswith("y"):
        yield category[:-1] + "ies"
    if category.endswith("s"):
        yield category[:-1]
    yield from (alias for alias, name in _CATEGORY_ALIASES.items() if name == category)


def _stands_alone(words: list[_Word], position: int, mention: Mention, text: str) -> bool:
    """Whether one word by itself means the name: `Up` is a title, `up` is a word."""
    word = words[position]
    quoted = text[word.start - 1 : word.start] in {'"', "'", "\u201c"} if word.start else False
    before = words[position - 1].text if position else ""
    after = words[position + 1].text if position + 1 < len(words) else ""
    if mention.kind is Kind.TITLE:
        cited = _YEAR_FOLLOWS.match(text, word.end) or _NUMBER_PRECEDES.search(text[: word.start])
        shouted = word.shape.isupper() and len(word.shape) > 2
        named = word.shape[:1].isupper() and (before in _TITLE_CUES or after not in _FILM_NOUNS)
        return quoted or bool(cited) or shouted or (named and not _starts_sentence(word, text))
    if mention.kind is Kind.CATEGORY and word.text in _NEVER_BARE:
        return quoted or {before, after} & {"category", "genre"} != set()
    return mention.kind is not Kind.ACTOR or quoted or before in _PERSON_CUES


def _starts_sentence(word: _Word, text: str) -> bool:
    return text[: word.start].rstrip()[-1:] in {"", ".", "!", "?"}
