"""The catalogue tools: what they accept, what they answer, what they keep to themselves."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.agent.engine import SourceRef, Tool, ToolError, ToolResult
from server.agent.tool_arguments import quoted
from server.agent.tools import MAX_RESULT_BYTES, catalogue_tools
from server.catalogue.domain import Label
from server.core.errors import DependencyUnavailable
from tests.support.small_catalogue import SmallCatalogue


@pytest.fixture
def catalogue() -> SmallCatalogue:
    return SmallCatalogue()


@pytest.fixture
def tools(catalogue: SmallCatalogue) -> dict[str, Tool]:
    return {tool.name: tool for tool in catalogue_tools(catalogue, catalogue)}


def _titles(result: ToolResult) -> list[str]:
    films = result.data["films"]
    assert isinstance(films, list)
    return [film["title"] for film in films]


def test_the_tools_and_their_permission(tools: dict[str, Tool]) -> None:
    assert list(tools) == ["search_films", "get_film", "list_films", "list_categories"]
    assert {tool.permission for tool in tools.values()} == {"films.read"}


def test_schemas_are_plain(tools: dict[str, Tool]) -> None:
    schema: Any = tools["search_films"].parameters
    assert schema["type"] == "object"
    assert schema["required"] == ["query"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["rating"] == {
        "description": "Age rating",
        "enum": ["G", "PG", "PG-13", "R", "NC-17"],
        "type": "string",
    }
    assert schema["properties"]["limit"]["default"] == 10
    assert "anyOf" not in json.dumps([dict(tool.parameters) for tool in tools.values()])


async def test_search(tools: dict[str, Tool]) -> None:
    result = await tools["search_films"]({"query": "dinosaur"})
    assert _titles(result) == ["ACADEMY DINOSAUR", "APACHE DIVINE"]
    assert result.summary == "Found 2 films"
    assert list(result.sources) == [
        SourceRef("films/1", "ACADEMY DINOSAUR"),
        SourceRef("films/30", "APACHE DIVINE"),
    ]
    films: Any = result.data["films"]
    assert films[0] == {
        "name": "films/1",
        "title": "ACADEMY DINOSAUR",
        "year": 2006,
        "rating": "PG",
        "minutes": 86,
        "language": "English",
        "categories": ["Documentary"],
        "actors": ["PENELOPE GUINESS", "CHRISTIAN GABLE"],
        "description": films[0]["description"],
    }
    assert "year" not in films[1], "what is not known is left out"


async def test_search_with_conditions_and_a_limit(tools: dict[str, Tool]) -> None:
    result = await tools["search_films"]({"query": "drama", "rating": "nc17", "limit": 1})
    assert _titles(result) == ["ALICE FANTASIA"]
    assert result.data["more"] is True


@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        ({"category": "comedy"}, ["AIRPLANE SIERRA", "ANTHEM LUKE", "APACHE DIVINE"]),
        ({"actor": "guiness"}, ["ACADEMY DINOSAUR", "AIRPLANE SIERRA"]),
        ({"language": "Japanese"}, ["ALABAMA DEVIL"]),
        ({"rating": "PG-13", "year_to": 1991}, ["ANTHEM LUKE"]),
        ({"year": 1999}, ["AFFAIR PREJUDICE"]),
        ({"year_from": 2006, "sort": "newest"}, ["ANTITRUST TOMATOES", "ACADEMY DINOSAUR"]),
        ({"max_minutes": 50, "sort": "shortest"}, ["ALIEN CENTER", "ACE GOLDFINGER"]),
        ({"min_minutes": 180, "sort": "longest"}, ["ANALYZE HOOSIERS", "ALLEY EVOLUTION"]),
        ({"category": "Comedy", "sort": "oldest"}, ["ANTHEM LUKE", "AIRPLANE SIERRA"]),
    ],
)
async def test_list(
    tools: dict[str, Tool], arguments: Mapping[str, object], titles: list[str]
) -> None:
    found = _titles(await tools["list_films"](arguments))
    assert found[: len(titles)] == titles


async def test_list_counts_them_all(tools: dict[str, Tool]) -> None:
    result = await tools["list_films"]({"limit": 2})
    assert (result.data["total"], len(_titles(result))) == (30, 2)
    assert result.summary == "Found 30 films"
    none = await tools["list_films"]({"category": "Western"})
    assert (none.data["total"], none.data["films"], none.summary) == (0, [], "Found 0 films")


@pytest.mark.parametrize("film", [2, "2", "films/2", "Ace Goldfinger", "  ACE GOLDFINGER "])
async def test_get_by_number_name_or_title(tools: dict[str, Tool], film: object) -> None:
    result = await tools["get_film"]({"film": film})
    row: Any = result.data["film"]
    assert (row["name"], row["title"]) == ("films/2", "ACE GOLDFINGER")
    assert list(result.sources) == [SourceRef("films/2", "ACE GOLDFINGER")]


@pytest.mark.parametrize(
    ("film", "told"),
    [
        ("films/999", "films/999 does not exist"),
        ("Ace", "no film has exactly this title; near: ACE GOLDFINGER (films/2)"),
        ("Zebra Zoo", "no film has exactly this title; search_films may find it"),
    ],
)
async def test_get_a_film_that_is_not_there(tools: dict[str, Tool], film: str, told: str) -> None:
    with pytest.raises(ToolError) as failure:
        await tools["get_film"]({"film": film})
    assert str(failure.value) == told


async def test_categories(tools: dict[str, Tool]) -> None:
    result = await tools["list_categories"]({})
    rows: Any = result.data["categories"]
    assert {"category": "Horror", "films": 6} in [
        {key: row[key] for key in ("category", "films")} for row in rows
    ]
    assert result.sources[0].resource_name == rows[0]["name"]


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("search_films", {}, "'query' is required. search_films takes: category, actor"),
        ("search_films", {"query": "x", "genre": "y"}, "there is no argument 'genre'. search_"),
        ("search_films", {"query": "   "}, "'query': String should have at least 1 character"),
        ("list_films", {"limit": "many"}, "'limit': Input should be a valid integer"),
        ("list_films", {"limit": 26}, "'limit': Input should be less than or equal to 25"),
        ("list_films", {"rating": "X"}, "'rating': Input should be 'G', 'PG', 'PG-13', 'R' or"),
        ("list_films", {"rating": 5}, "'rating': Input should be 'G'"),
        ("list_films", {"sort": "best"}, "'sort': Input should be 'title', 'newest'"),
        ("list_films", {"category": ["a"]}, "'category': Input should be a valid string"),
        ("get_film", {"film": True}, "'film': Input should be a valid string"),
        ("list_categories", {"x": 1}, "there is no argument 'x'. list_categories takes: no arg"),
    ],
)
async def test_bad_arguments_are_told_with_what_is_allowed(
    tools: dict[str, Tool], tool: str, arguments: Mapping[str, object], told: str
) -> None:
    with pytest.raises(ToolError) as failure:
        await tools[tool](arguments)
    assert str(failure.value).startswith(told)


async def test_a_bad_argument_is_not_repeated_at_length(tools: dict[str, Tool]) -> None:
    with pytest.raises(ToolError) as failure:
        await tools["list_categories"]({"\x1b[31m" + "x" * 5000: 1})
    assert len(str(failure.value)) < 200
    assert "\x1b" not in str(failure.value)


@pytest.mark.parametrize(
    "text", ['") OR rating = G AND contains(labels.categories, "', "100%", "a\\", "*", "a\0b", "'"]
)
async def test_a_name_cannot_become_a_condition(tools: dict[str, Tool], text: str) -> None:
    result = await tools["list_films"]({"category": text})
    assert result.data["films"] == []


def test_quoting() -> None:
    assert quoted('say "hi" \\ *\n') == r'"say \"hi\" \\ \*"'


async def test_a_domain_error_is_told_in_its_own_words(
    tools: dict[str, Tool], catalogue: SmallCatalogue
) -> None:
    catalogue.failure = DependencyUnavailable("database")
    with pytest.raises(ToolError) as failure:
        await tools["list_categories"]({})
    assert str(failure.value) == "the database is not reachable right now; try again shortly"


async def test_any_other_error_is_logged_and_not_told(
    tools: dict[str, Tool], catalogue: SmallCatalogue
) -> None:
    catalogue.failure = RuntimeError("password=hunter2 at db.internal")
    with capture_logs() as logs, pytest.raises(ToolError) as failure:
        await tools["list_categories"]({})
    assert str(failure.value) == "the tool failed; the reason has been logged"
    assert [(entry["event"], entry["tool"]) for entry in logs] == [
        ("tool_failed", "list_categories")
    ]


async def test_results_are_small(tools: dict[str, Tool], catalogue: SmallCatalogue) -> None:
    actors = tuple(Label(number, f"{number:03} " + "Ä" * 40) for number in range(200))
    for film in catalogue.films:
        catalogue.plant(film.film_id, title="T" * 255, description="d" * 10_000, actors=actors)
    listed = await tools["list_films"]({"limit": 25})
    films: Any = listed.data["films"]
    assert len(json.dumps(listed.data, ensure_ascii=False).encode()) <= MAX_RESULT_BYTES
    assert listed.data["more"] is True
    assert len(listed.sources) == len(films) < 25
    assert len(films[0]["description"]) == 300
    assert films[0]["more_actors"] == 192
    one = await tools["get_film"]({"film": 1})
    assert len(json.dumps(one.data, ensure_ascii=False).encode()) <= MAX_RESULT_BYTES
