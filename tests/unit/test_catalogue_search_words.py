"""Words of texts and queries, words with a letter wrong, and snippets."""

import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.domain import Film, Label
from server.catalogue.index_words import IndexedFilm, variant_rows
from server.catalogue.search import (
    MARK,
    MAX_TERM_BYTES,
    MAX_TERMS,
    MAX_TEXT_BYTES,
    QueryWord,
    index_terms,
    indexed_words,
    query_words,
    search_terms,
    stem,
    text_words,
)
from server.catalogue.snippets import MAX_SNIPPET_BYTES, Snippet, Snippets, Sought
from server.catalogue.typos import MAX_MEANT, is_one_mistake, may_be_mistyped, meant, variants

_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_LETTERS = "abé\u0301'\u2019ﬁ½ß\u0345東 \u00a0-_.İ"


def _film(**texts: str) -> Film:
    return Film(
        film_id=1,
        title=texts.get("title", ""),
        description=texts.get("description", ""),
        release_year=None,
        language=Label(1, "English"),
        original_language=None,
        rental_duration=3,
        rental_rate=Decimal("0.99"),
        length=None,
        replacement_cost=Decimal("9.99"),
        rating=None,
        special_features=(),
        streaming_available=False,
        categories=tuple(Label(1, name) for name in texts.get("categories", "").split(",") if name),
        actors=tuple(Label(1, name) for name in texts.get("actors", "").split(",") if name),
        create_time=_DAY,
        update_time=_DAY,
        revision=1,
    )


def _snippet(query: str, **texts: str) -> Snippet:
    sought = [Sought(word.word, word.term) for word in query_words(query)]
    return Snippets(sought).of(_film(**texts))


def _marked(snippet: Snippet) -> list[str]:
    raw = snippet.text.encode()
    return [raw[mark.start : mark.end].decode() for mark in snippet.highlights]


def test_a_query_loses_stop_words_unless_it_has_no_others() -> None:
    assert query_words("The Dinosaurs, please!") == [QueryWord("dinosaurs", "dinosaur")]
    assert search_terms("it is what it is") == ["it", "is", "what"]
    assert search_terms("?! ...") == []
    assert query_words("parks Park parking") == [QueryWord("parks", "park")]
    assert len(query_words(" ".join(f"word{n}" for n in range(40)))) == MAX_TERMS


@given(st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from(_LETTERS))))
def test_places_are_those_of_the_words_that_are_indexed(text: str) -> None:
    places = list(text_words(text))
    words = [place.word for place in places]
    every = iter(indexed_words(text))
    assert all(word in every for word in words), "in the same order"
    assert all(first.end <= second.start for first, second in pairwise(places))
    for place in places:
        part = text[place.start : place.end]
        assert place.word in indexed_words(part)
        assert not unicodedata.combining(text[place.end : place.end + 1] or " ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Amélie's café", ["Amélie's", "café"]),
        ("e\u0301lan vital", ["e\u0301lan", "vital"]),
        ("It\u2019s 'quoted'", ["It\u2019s", "quoted"]),
        ("東京 x", ["東京", "x"]),
        ("a ½ b", ["a", "½", "b"]),
    ],
)
def test_places_of_words(text: str, words: list[str]) -> None:
    assert [text[place.start : place.end] for place in text_words(text)] == words


def test_what_is_too_long_is_not_indexed() -> None:
    assert indexed_words("x" * (MAX_TERM_BYTES + 1) + " park") == ["park"]
    long = indexed_words("é" * 10 + " " + "東東東 " * 20_000)
    assert sum(len(word.encode()) for word in long) <= MAX_TEXT_BYTES
    assert long[0] == "e" * 10


def test_a_film_is_indexed_by_stems_and_by_whole_words() -> None:
    film = IndexedFilm(7, [("title", "Flying Daggers"), ("actors", "")])
    assert film.columns == {"title": f"fli {MARK}flying dagger {MARK}daggers", "actors": ""}
    assert film.words == {"flying", "daggers"}
    assert index_terms("Flying Daggers") == [stem("flying"), stem("daggers")]


_WORDS = st.text(alphabet="abcdé", min_size=4, max_size=7)


@given(_WORDS, st.data())
def test_a_word_with_one_mistake_shares_a_form_with_the_right_one(
    word: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(word) - 1))
    letter = data.draw(st.sampled_from("abcdéx"))
    mistaken = {
        word[:place] + letter + word[place + 1 :],
        word[:place] + word[place + 1 :],
        word[:place] + letter + word[place:],
        word[:place] + word[place + 1 : place + 2] + word[place] + word[place + 2 :],
    }
    for each in mistaken - {word}:
        assert is_one_mistake(word, each)
        assert is_one_mistake(each, word)
        assert variants(word) & variants(each)


@given(_WORDS, _WORDS)
def test_one_mistake_is_a_distance_of_one(left: str, right: str) -> None:
    assert is_one_mistake(left, right) == (_distance(left, right) == 1)


def _distance(left: str, right: str) -> int:
    """Return the Damerau-Levenshtein distance, by the table of all beginnings."""
    rows = [
        [max(i, j) if not i * j else 0 for j in range(len(right) + 1)] for i in range(len(left) + 1)
    ]
    for i, a in enumerate(left, start=1):
        for j, b in enumerate(right, start=1):
            rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (a != b))
            if i > 1 and j > 1 and (a, left[i - 2]) == (right[j - 2], b):
                rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]


def test_which_words_are_corrected() -> None:
    assert not any(map(may_be_mistyped, ["cat", "2001", "x" * 33]))
    assert meant("dinosuar", ["dinosaur", "dinosaurs", "park"]) == ("dinosaur",)
    assert meant("bark", ["park", "bard"]) == ("bard", "park"), "the first letter is seldom wrong"
    assert len(meant("aaaa", [f"aaa{chr(98 + n)}" for n in range(20)])) == MAX_MEANT
    assert variant_rows(["cats", "1984", "a"]) == [
        *[("ats", "cats"), ("cas", "cats"), ("cat", "cats"), ("cats", "cats"), ("cts", "cats")]
    ]


def test_the_text_with_most_of_the_words_is_shown() -> None:
    texts = {
        "title": "The Park",
        "categories": "Sci-Fi,Drama",
        "actors": "Sam Neill,Laura Dern",
        "description": "Dinosaurs in a park, with drama.",
    }
    for query, field, marks in (
        ("park", "title", ["Park"]),
        ("drama", "labels.categories", ["Drama"]),
        ("laur neill", "labels.actors", ["Neill", "Laura"]),
        ("dinosaur parks", "description", ["Dinosaurs", "park"]),
        ("nothing", "description", []),
    ):
        snippet = _snippet(query, **texts)
        assert (snippet.field, _marked(snippet)) == (field, marks)
    assert _snippet("neill", **texts).text == "Sam Neill, Laura Dern"
    assert _snippet("nothing", title="Alone") == Snippet("Alone", "title")


def test_a_mistyped_word_is_marked_as_it_was_meant() -> None:
    snippets = Snippets([Sought("dinosuar", "dinosuar", ("dinosaurs",))])
    assert _marked(snippets.of(_film(title="A Dinosaur, not a dinosuar"))) == ["Dinosaur"]


def test_of_a_long_text_the_part_with_the_words_is_shown() -> None:
    filler = "the café of the old town " * 30
    text = f"{filler}where a dragon met a knight {filler}"
    snippet = _snippet("knight dragon", description=text)
    assert _marked(snippet) == ["dragon", "knight"]
    assert snippet.text.startswith("…")
    assert snippet.text.endswith("…")
    assert snippet.text.strip("…") in text
    assert MAX_SNIPPET_BYTES - 30 < len(snippet.text.encode()) <= MAX_SNIPPET_BYTES
    start = _snippet("café", description=filler)
    assert start.text.startswith("the café of")
    end = _snippet("dragon", description=f"{filler} a dragon")
    assert end.text.endswith("a dragon")


@given(
    st.lists(
        st.sampled_from(["dragon", "knight", "café", "e\u0301lan", "東" * 90, "x" * 300, "½"])
    ),
    st.text(alphabet=_LETTERS + "dragon", max_size=700),
    st.sampled_from(["dragon", "knight dragon", "cafe elan 1", "東" * 90, "drag"]),
)
def test_snippets_are_whole_characters_in_order(words: list[str], text: str, query: str) -> None:
    film_text = " ".join([*words, text, *words])
    snippet = _snippet(query, description=film_text)
    raw = snippet.text.encode()
    assert len(raw) <= MAX_SNIPPET_BYTES
    assert snippet.text.removeprefix("…").removesuffix("…") in film_text
    last = 0
    for mark in snippet.highlights:
        assert last <= mark.start < mark.end <= len(raw)
        raw[: mark.start].decode()
        assert raw[mark.start : mark.end].decode()
        last = mark.end
