"""`interview films` and the other lists of the catalogue."""

import json
import re
import subprocess
from typing import Any

import pytest

from tests.support.terminal import PROGRAM, Result, Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("server")]


def rows(result: Result) -> list[list[str]]:
    """Return the cells of a plain list."""
    assert result.returncode == 0, result.stderr
    return [line.split("\t") for line in result.stdout.splitlines()]


def objects(result: Result) -> list[dict[str, Any]]:
    """Return the objects of a JSON list."""
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def error(result: Result, code: int) -> str:
    assert (result.returncode, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    return line


def test_films_are_found_by_words(reader: Terminal) -> None:
    found = rows(reader.run("films", "search", "dinosaur", "island", "--limit", "30"))
    titles = [title for _, title, *_ in found]
    assert "Jurassic Park" in titles
    assert len(found) < 30
    name, title, year, rating, length, categories, text = found[titles.index("Jurassic Park")]
    assert name.startswith("films/")
    assert (title, year, rating, length) == ("Jurassic Park", "1993", "PG-13", "127 min")
    assert "Adventure" in categories.split(", ")
    assert "dinosaurs" in text
    # Whatever was found in a title is seen there.
    assert ["Dinosaur", ""] in [[row[1], row[6]] for row in found]


def test_json_has_the_names_of_the_protocol(reader: Terminal) -> None:
    matches = objects(reader.run("films", "search", "jurassic", "--json"))
    (park,) = [match for match in matches if match["film"]["title"] == "Jurassic Park"]
    assert park["film"]["releaseYear"] == 1993
    assert park["film"]["rating"] == "FILM_RATING_PG_13"
    assert 0 < park["score"] <= 1


def test_every_condition_holds(reader: Terminal) -> None:
    found = objects(
        reader.run(
            *("films", "list", "--category", "horror", "--rating", "pg-13", "--json"),
            *("--filter", "release_year < 2000 OR release_year > 2010"),
            *("--order-by", "release_year desc"),
        )
    )
    years = [film["releaseYear"] for film in found]
    assert years == sorted(years, reverse=True)
    assert any(year < 2000 for year in years)
    assert any(year > 2010 for year in years)
    for film in found:
        assert "Horror" in film["labels"]["categories"]
        assert film["rating"] == "FILM_RATING_PG_13"
        assert not 2000 <= film["releaseYear"] <= 2010


def test_films_are_listed_by_actor_and_year(reader: Terminal) -> None:
    found = rows(reader.run("films", "list", "--actor", "goldblum", "--year", "1993"))
    assert [title for _, title, *_ in found] == ["Jurassic Park"]


@pytest.mark.parametrize("text", ['"', "\\", "*", 'O"To*o\\le', '") OR contains(title, "a'])
def test_no_character_of_an_option_is_part_of_the_filter(reader: Terminal, text: str) -> None:
    result = reader.run("films", "list", "--actor", text, "--all")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "nothing found\n"


def test_quotes_in_names_are_found(reader: Terminal) -> None:
    found = rows(reader.run("films", "list", "--actor", "D'Onofrio"))
    assert "Full Metal Jacket" in [title for _, title, *_ in found]


def test_lists_are_cut_and_say_so(reader: Terminal) -> None:
    result = reader.run("films", "list", "--limit", "3")
    assert len(rows(result)) == 3
    assert "first 3" in result.stderr
    result = reader.run("films", "list", "--all")
    assert result.stderr == ""
    names = [name for name, *_ in rows(result)]
    assert len(names) >= 250
    assert len(set(names)) == len(names)


def test_a_film_is_shown_by_number_and_by_name(reader: Terminal) -> None:
    (found,) = objects(reader.run("films", "list", "--filter", 'title = "Jurassic Park"', "--json"))
    number = found["name"].removeprefix("films/")
    by_number = reader.run("films", "show", number)
    by_name = reader.run("films", "show", found["name"])
    assert by_number.returncode == 0
    assert by_number.stdout == by_name.stdout
    lines = dict(line.split(": ", 1) for line in by_number.stdout.splitlines())
    assert lines["title"] == "Jurassic Park"
    assert "Laura Dern" in lines["actors"]
    assert "dinosaurs" in lines["description"]
    (film,) = objects(reader.run("films", "show", number, "--json"))
    assert film["description"] == lines["description"]


def test_an_unknown_film_is_said_to_be_unknown(reader: Terminal) -> None:
    line = error(reader.run("films", "show", "999999"), 1)
    assert "films/999999 does not exist (RESOURCE_NOT_FOUND)" in line
    assert "films search" in line


def test_a_wrong_filter_names_the_field_and_those_there_are(reader: Terminal) -> None:
    line = error(reader.run("films", "list", "--filter", "raiting = PG"), 1)
    assert "did you mean rating?" in line
    assert "FILTER_UNKNOWN_FIELD" in line
    assert "release_year" in line


def test_arguments_that_are_no_text_are_refused(reader: Terminal) -> None:
    assert "not valid UTF-8" in error(reader.run("films", "search", "caf\udce9"), 1)


def test_wrong_options_are_wrong_usage(reader: Terminal) -> None:
    assert "PG-13" in error(reader.run("films", "list", "--rating", "X"), 2)
    assert "--limit" in error(reader.run("films", "list", "--limit", "0"), 2)
    assert "--year" in error(reader.run("films", "list", "--year", "old"), 2)


def test_a_terminal_gets_a_table(reader: Terminal) -> None:
    with reader.screen("films", "list", "--filter", 'title = "Jurassic Park"') as screen:
        assert screen.exit_code() == 0
    header, park, *_ = screen.text.splitlines()
    assert header.split() == ["film", "title", "year", "rating", "length", "categories"]
    assert "Jurassic Park" in park
    assert park.index("1993") == header.index("year")


def test_a_terminal_shows_what_was_found_in_bold(reader: Terminal) -> None:
    with reader.screen("films", "search", "goldblum", "--limit", "1") as screen:
        assert screen.exit_code() == 0
    assert "found" in screen.text
    assert re.search(rb"\x1b\[1mGoldblum\x1b\[0m", screen.raw), screen.raw


def test_a_ranking_that_the_server_does_not_have_is_told(reader: Terminal) -> None:
    result = reader.run("films", "search", "dinosaur", "--meaning")
    if result.returncode:
        assert "RANKING_UNAVAILABLE" in error(result, 1)
        assert "--meaning" in result.stderr
    else:
        assert "Dinosaur" in result.stdout


def test_whoever_stops_reading_is_no_error(reader: Terminal) -> None:
    """As `interview films list --all | head -1` does."""
    with subprocess.Popen(
        [PROGRAM, "films", "list", "--all", "--json"],
        env=reader.environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["name"] == "films/1"
        process.stdout.close()
        assert process.stderr.read() == b""
        # What shells make of SIGPIPE.
        assert process.wait(20) == 141


def test_categories_actors_and_agents_are_listed(reader: Terminal) -> None:
    categories = rows(reader.run("categories"))
    assert "Horror" in [called for _, called, _ in categories]
    assert all(int(count) >= 0 for _, _, count in categories)
    actors = rows(reader.run("actors", "--all"))
    assert "Jeff Goldblum" in [called for _, called, _ in actors]
    assert len(rows(reader.run("actors", "--limit", "2"))) == 2
    agents = objects(reader.run("agents", "--json"))
    assert [agent["name"] for agent in agents] == ["agents/SearchAgent", "agents/LLMAgent"]
