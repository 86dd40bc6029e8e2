"""The queries with known right answers are sound, and search stays as good as it was measured."""

import pytest

from benchmarks.relevance import (
    NOTHING,
    PAGE,
    Answered,
    Query,
    Score,
    by_kind,
    failed,
    read_queries,
)
from server.catalogue.sample import read_sample_films
from server.generated.interview.catalogue.v1 import film_pb2
from tests.support.caller import Caller
from tests.support.running import Running

KINDS = {
    "title",
    "part_of_title",
    "plot",
    "several_words",
    "actor",
    "category_and_words",
    "prefix",
    "typo",
    "accents",
    "paraphrase",
    NOTHING,
}
MISSED = {"paraphrase": 7}
"""Queries without a hit within the first five; words alone do not find what is said otherwise."""
QUERY = Query("title", "the hive", ("The Hive", "Hive"))


def test_every_answer_is_a_film_of_the_sample() -> None:
    titles = {film.title for film in read_sample_films()}
    assert {title for query in read_queries() for title in query.expected} <= titles


def test_there_are_queries_of_every_kind() -> None:
    queries = read_queries()
    kinds = [query.kind for query in queries]
    assert len(queries) >= 60
    assert set(kinds) == KINDS
    assert all(kinds.count(kind) >= 5 for kind in KINDS)
    texts = [query.text for query in queries]
    assert len(set(texts)) == len(texts)
    for query in queries:
        assert (query.kind == NOTHING) == (not query.expected), query.text
        assert len(set(query.expected)) == len(query.expected), query.text


@pytest.mark.parametrize(
    ("titles", "place"),
    [(["The Hive"], 1), (["A", "Hive", "The Hive"], 2), (["A", "B"], None), ([], None)],
)
def test_the_place_is_that_of_the_first_right_answer(titles: list[str], place: int | None) -> None:
    assert Answered(QUERY, tuple(titles)).place == place


@pytest.mark.parametrize(("titles", "place"), [((), 1), (("The Hive",), None)])
def test_where_nothing_is_right_anything_is_wrong(
    titles: tuple[str, ...], place: int | None
) -> None:
    assert Answered(Query(NOTHING, "xqzvbw", ()), titles).place == place


def test_a_score_counts_what_was_not_found() -> None:
    first, sixth, never = (
        Answered(QUERY, ("Hive",)),
        Answered(QUERY, (*"ABCDE", "Hive")),
        Answered(QUERY, ()),
    )
    score = by_kind([first, sixth, never])["title"]
    assert (score.hits(1), score.hits(5), score.hits(6)) == (1 / 3, 1 / 3, 2 / 3)
    assert score.reciprocal_rank == pytest.approx((1 + 1 / 6) / 3)
    assert failed([first, sixth, never]) == [sixth, never]


async def test_search_by_words_is_as_good_as_it_was_measured(embedded: Running) -> None:
    caller = await Caller.signed_in(embedded)
    answers = []
    for query in read_queries():
        page = await caller.SearchFilms(
            film_pb2.SearchFilmsRequest(query=query.text, page_size=PAGE)
        )
        answers.append(Answered(query, tuple(match.film.title for match in page.matches)))
    missed = {kind: len(failed(score.answers)) for kind, score in by_kind(answers).items()}
    assert all(count <= MISSED.get(kind, 0) for kind, count in missed.items()), missed
    assert Score(answers).hits(1) >= 0.89
