"""SearchFilms through a real server, on both databases."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from sqlalchemy import text

from server.catalogue.film_search import FilmMatch, FilmSearch, Ranking
from server.catalogue.query_fields import film_fields
from server.catalogue.search import query_words
from server.catalogue.search_reads import SqlSearch
from server.core.clock import utc_now
from server.core.errors import DomainError
from server.core.paging import Key, PageRequest
from server.database.engine import Database
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2
from tests.support.caller import Caller
from tests.support.databases import postgres_copy
from tests.support.running import Running
from tests.support.statuses import refused


@pytest.fixture
async def viewer(shared: Running) -> Caller:
    return await Caller.signed_in(shared)


async def _search(viewer: Caller, query: str, **fields: Any) -> Sequence[film_pb2.FilmMatch]:
    """Return the matches of every page."""
    found: list[film_pb2.FilmMatch] = []
    token = ""
    while True:
        request = film_pb2.SearchFilmsRequest(query=query, page_token=token, **fields)
        answer = await viewer.SearchFilms(request)
        found += answer.matches
        token = answer.next_page_token
        if not token:
            return found


async def _titles(viewer: Caller, query: str, **fields: Any) -> list[str]:
    return [match.film.title for match in await _search(viewer, query, **fields)]


def _marked(match: film_pb2.FilmMatch) -> list[str]:
    raw = match.snippet.encode()
    return [raw[mark.start_byte : mark.end_byte].decode() for mark in match.highlights]


async def test_a_word_counts_by_where_it_is(viewer: Caller) -> None:
    matches = await _search(viewer, "drama", page_size=1000)
    fields = [match.snippet_field for match in matches]
    assert fields.count("labels.categories") > 20
    assert fields == sorted(fields, key=["title", "labels.categories", "description"].index)
    assert [match.score for match in matches] == sorted(
        (match.score for match in matches), reverse=True
    )
    assert all(0 < match.score <= 1 for match in matches)
    ties = [(-match.score, match.film.title.encode()) for match in matches]
    assert ties == sorted(ties)


async def test_an_actor_is_found_by_name(viewer: Caller) -> None:
    matches = await _search(viewer, "sam neill")
    assert "Jurassic Park" in [match.film.title for match in matches]
    assert matches[0].snippet_field == "labels.actors"
    assert _marked(matches[0]) == ["Sam", "Neill"]
    assert not matches[0].film.actors, "the basic view has no actors, the snippet has"


async def test_a_category_and_a_word_of_the_plot(viewer: Caller) -> None:
    matches = await _search(
        viewer, "animation dinosaur", page_size=5, view=resources_pb2.FILM_VIEW_FULL
    )
    assert matches[0].film.title in {"Dinosaur", "The Good Dinosaur"}
    assert "Animation" in matches[0].film.labels.categories


@pytest.mark.parametrize(
    ("query", "first", "marks"),
    [
        ("jur", "Jurassic Park", ["Jurassic"]),
        ("jurassi", "Jurassic Park", ["Jurassic"]),
        ("AMÉL", "Amélie", ["Amélie"]),
        ("amelie", "Amélie", ["Amélie"]),
        ("Jurasssic", "Jurassic Park", ["Jurassic"]),
        ("jurasic", "Jurassic Park", ["Jurassic"]),
        ("jurassik", "Jurassic Park", ["Jurassic"]),
        ("juarssic", "Jurassic Park", ["Jurassic"]),
        ("cuckoo's", "One Flew Over the Cuckoo's Nest", ["Cuckoo's"]),
        ("cuckoos nest", "One Flew Over the Cuckoo's Nest", ["Cuckoo's", "Nest"]),
    ],
)
async def test_beginnings_accents_and_one_wrong_letter(
    viewer: Caller, query: str, first: str, marks: list[str]
) -> None:
    matches = await _search(viewer, query)
    assert matches[0].film.title == first
    assert _marked(matches[0]) == marks
    assert not matches[0].by_meaning


async def test_a_whole_word_counts_more_than_a_beginning_and_that_more_than_a_guess(
    viewer: Caller,
) -> None:
    scores = {query: (await _search(viewer, query))[0].score for query in ("park", "jura", "prak")}
    assert scores["park"] == 1
    assert 1 > scores["jura"] > scores["prak"] > 0


async def test_two_wrong_letters_and_short_words_are_not_guessed(viewer: Caller) -> None:
    assert await _titles(viewer, "juarsic") == []
    assert await _titles(viewer, "zqx") == []


async def test_a_word_that_films_have_is_not_guessed_at(viewer: Caller) -> None:
    for match in await _search(viewer, "part", page_size=1000):
        assert all(word.casefold().startswith("part") for word in _marked(match))


async def test_the_film_that_is_called_just_so_comes_first(viewer: Caller) -> None:
    matches = await _search(viewer, "  HER ")
    assert matches[0].film.title == "Her"
    others = [match for match in matches[1:] if match.score == 1]
    assert others, "others have the word in their title too"


async def test_stop_words_count_only_alone(viewer: Caller) -> None:
    assert await _titles(viewer, "the jurassic") == await _titles(viewer, "jurassic")
    assert "It" in " ".join(await _titles(viewer, "it", page_size=1000))


async def test_pages_hold_every_match_once_whatever_their_size(viewer: Caller) -> None:
    fields = {"filter": 'release_year >= 1980 AND contains(labels.categories, "a")'}
    whole = await _search(viewer, "war love girl", page_size=1000, **fields)
    assert len(whole) > 40
    assert len({match.film.name for match in whole}) == len(whole)
    for size in (7, 40):
        assert await _search(viewer, "war love girl", page_size=size, **fields) == whole
    names = {match.film.name for match in whole}
    wider = await _search(viewer, "war love girl", page_size=1000)
    assert names < {match.film.name for match in wider}


async def test_a_mistyped_word_has_pages_too(viewer: Caller) -> None:
    whole = await _search(viewer, "dinosuar island", page_size=1000)
    assert len(whole) > 5
    assert await _search(viewer, "dinosuar island", page_size=3) == whole


@pytest.mark.parametrize(
    "query",
    [
        *('"', "'", "*", "a* OR b", "NEAR(park, 2)", "title : park", "park NOT jurassic", "-park"),
        *("park' | 'x", "!park & x", "park:*", "\\", "%", "_", "{title} : x", "^park", "park\0x"),
        *("); DROP TABLE film; --", "\ue000park", "𞤀𞤁", "ﷺ" * 512, "東" * 512, "a" * 512),
        " ".join(f"{chr(97 + n % 26)}{n}" for n in range(120))[:512],
    ],
)
async def test_a_query_is_words_and_nothing_else(viewer: Caller, query: str) -> None:
    if query_words(query):
        titles = await _titles(viewer, query)
        assert ("Jurassic Park" in titles) == ("park" in query)
    else:
        told = await refused(viewer.SearchFilms(film_pb2.SearchFilmsRequest(query=query)))
        assert told.code is grpc.StatusCode.INVALID_ARGUMENT
        assert told.bad_fields == ["query"]


async def test_every_wrong_field_is_told_at_once(viewer: Caller) -> None:
    wrong: dict[str, Any] = {"query": "x" * 513, "page_size": -1, "filter": "y" * 2049}
    request = film_pb2.SearchFilmsRequest(**wrong | {"ranking": 7, "view": 9})
    told = await refused(viewer.SearchFilms(request))
    assert sorted(told.bad_fields) == ["filter", "page_size", "query", "ranking", "view"]


async def test_a_page_belongs_to_its_query_and_ranking(viewer: Caller) -> None:
    first = await viewer.SearchFilms(film_pb2.SearchFilmsRequest(query="war", page_size=1))
    other = film_pb2.SearchFilmsRequest(
        query="love", page_token=first.next_page_token, ranking=film_pb2.SEARCH_RANKING_TEXT
    )
    told = await refused(viewer.SearchFilms(other))
    assert told.metadata["changed_fields"] == "query,ranking"


async def test_a_deleted_film_is_not_found(shared: Running, viewer: Caller) -> None:
    database = shared.app.database
    before = await _titles(viewer, "jurassic")
    number = next(
        int(match.film.name.split("/")[1])
        for match in await _search(viewer, "jurassic park")
        if match.film.title == "Jurassic Park"
    )
    for moment, found in (("CURRENT_TIMESTAMP", False), ("NULL", True)):
        async with database.write() as write:
            statement = f"UPDATE film SET delete_time = {moment} WHERE film_id = {number}"
            await write.execute(text(statement))
        titles = await _titles(viewer, "jurassic")
        assert ("Jurassic Park" in titles) == found
        assert {*titles, "Jurassic Park"} == set(before)


async def test_the_views_differ_in_the_film_and_not_in_the_snippet(viewer: Caller) -> None:
    basic = await _search(viewer, "dinosaurs island")
    full = await _search(viewer, "dinosaurs island", view=resources_pb2.FILM_VIEW_FULL)
    assert [match.snippet for match in basic] == [match.snippet for match in full]
    described = [match for match in full if match.snippet_field == "description"]
    assert described
    assert all(match.snippet.strip("…") in match.film.description for match in described)
    assert not any(match.film.description for match in basic)


class Near:
    """Knows the meaning of everything: these films, the first one best."""

    def __init__(self, *film_ids: int) -> None:
        self._film_ids = film_ids

    async def ranks(self, query: str, limit: int) -> Sequence[tuple[int, float]]:
        """Return them, nearer and nearer to nothing."""
        return [(number, 1 / place) for place, number in enumerate(self._film_ids, 1)][:limit]


async def _pages(
    search: FilmSearch, query: str, size: int, **options: Any
) -> list[tuple[str, float, bool]]:
    found: list[FilmMatch] = []
    after: Key | None = None
    while True:
        page = await search.search_films(query, PageRequest(size, after), **options)
        found += page.rows
        after = page.next_after
        if after is None:
            return [(match.film.title, match.score, match.by_meaning) for match in found]


async def test_meaning_and_words_are_fused(shared_database: Database, viewer: Caller) -> None:
    numbers = {
        match.film.title: int(match.film.name.split("/")[1])
        for query in ("jurassic", "amelie", "airplane")
        for match in await _search(viewer, query)
    }
    near = Near(numbers["Amélie"], numbers["Jurassic World"], numbers["Airplane!"], 999_999)
    search = FilmSearch(SqlSearch(shared_database), film_fields(), utc_now, near)
    both = {"ranking": Ranking.TEXT_AND_MEANING}
    found = await _pages(search, "jurassic", 100, **both)
    assert found[0][0] == "Jurassic World", "that both rankings have"
    scores = [score for _, score, _ in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[-1] < scores[0] <= 1
    by_meaning = {title for title, _, without_words in found if without_words}
    assert by_meaning == {"Amélie", "Airplane!"}
    assert await _pages(search, "jurassic", 1, **both) == found
    kept = await _pages(search, "jurassic", 100, where='title != "Amélie"', **both)
    assert {title for title, _, _ in found} - {title for title, _, _ in kept} == {"Amélie"}
    assert (await _pages(search, "zqxwv", 9, **both))[0][0] == "Amélie"
    words = await _pages(search, "jurassic", 100)
    assert not any(without_words for _, _, without_words in words)


async def test_without_meanings_a_search_by_them_is_refused(shared_database: Database) -> None:
    search = FilmSearch(SqlSearch(shared_database), film_fields(), utc_now)
    with pytest.raises(DomainError) as caught:
        await search.search_films("war", PageRequest(5), ranking=Ranking.TEXT_AND_MEANING)
    assert caught.value.reason == "RANKING_UNAVAILABLE"


async def test_both_databases_find_the_same_in_the_same_order(
    sqlite_templates: Any, postgres_templates: dict[str, str], postgres_server: str
) -> None:
    sqlite = Database(f"sqlite+aiosqlite:///{sqlite_templates['sample']}")
    async with postgres_copy(postgres_server, postgres_templates["sample"]) as url:
        postgres = Database(url)
        houses = [FilmSearch(SqlSearch(one), film_fields(), utc_now) for one in (sqlite, postgres)]
        chance = random.Random(17)
        rows = await sqlite.read.all(text("SELECT title, description FROM film"))
        words = [word for row in rows for word in f"{row.title} {row.description}".split()]
        for _ in range(100):
            query = " ".join(_worn(word, chance) for word in chance.choices(words, k=3))
            pages = [await house.search_films(query, PageRequest(1000)) for house in houses]
            left, right = [
                [(m.film.title, m.score, m.snippet) for m in page.rows] for page in pages
            ]
            assert left == right, query
        await asyncio.gather(sqlite.close(), postgres.close())


def _worn(word: str, chance: random.Random) -> str:
    """Return the word as it is, its beginning, or the word without one letter."""
    place = chance.randrange(len(word))
    return chance.choice([word, word, word[: place + 1], word[:place] + word[place + 1 :], "été"])
