"""Films of options and of JSON lines in the terminal: what is taken, and what is refused how."""

from pathlib import Path
from typing import Any

import pytest
import typer
from interview_client import InterviewClient
from interview_client.cli.failures import USAGE, Failure
from interview_client.cli.film_lines import BadLine, Source
from interview_client.cli.film_options import FilmOptions, film_of_json, read_film
from interview_client.film_changes import SETTABLE
from interview_client.film_import import ImportProgress
from interview_client.messages import Film, FilmRating, Money, SpecialFeature


async def onto(**options: Any) -> tuple[Film, list[str]]:
    """Return the film that options without names of other things make."""
    film = Film()
    async with InterviewClient("127.0.0.1:1") as client:
        fields = await FilmOptions(**options).onto(film, client.catalogue)
    return film, fields


async def test_only_what_is_given_is_set() -> None:
    film, fields = await onto(
        title="M", year=1950, streaming=False, categories=["1", "categories/2"]
    )
    assert fields == ["title", "release_year", "streaming_available", "categories"]
    assert film == Film(title="M", release_year=1950, categories=["categories/1", "categories/2"])


async def test_what_is_given_empty_is_cleared() -> None:
    film, fields = await onto(description="", rating="", original_language="", categories=[""])
    assert set(fields) == {"description", "rating", "original_language", "categories"}
    assert film == Film()


@pytest.mark.parametrize("text", ["deleted-scenes", "deleted_scenes", "DELETED_SCENES "])
async def test_a_feature_is_written_with_either_dash(text: str) -> None:
    film, _ = await onto(features=[text])
    assert film.special_features == [SpecialFeature.DELETED_SCENES]


async def test_every_field_that_an_option_sets_is_told() -> None:
    """Else one could be cleared and set at once."""
    texts = {"language": "1", "original_language": "2", "rating": "G", "rate": "1", "cost": "1"}
    lists = {"categories": ["1"], "actors": ["1"], "features": ["trailers"]}
    rest = {"title": "M", "description": "d", "year": 1, "length": 1, "days": 1, "streaming": True}
    options: dict[str, Any] = {**texts, **lists, **rest}
    _, fields = await onto(**options)
    told = FilmOptions(**options).given
    assert set(fields) == set(told) == set(SETTABLE)
    assert FilmOptions(year=0).given == {"release_year": "--year"}
    assert FilmOptions().is_empty


@pytest.mark.parametrize(
    ("text", "units", "nanos"),
    [("2.99", 2, 990_000_000), ("2.9", 2, 900_000_000), ("12", 12, 0), ("0.05", 0, 50_000_000)],
)
async def test_money_is_dollars_and_cents(text: str, units: int, nanos: int) -> None:
    film, _ = await onto(rate=text, cost=text)
    assert film.rental_rate == film.replacement_cost == Money("USD", units, nanos)


@pytest.mark.parametrize("text", ["two", "2.999", "-1", "1e3", "2,99", ".5", ""])
async def test_other_money_is_refused(text: str) -> None:
    with pytest.raises(Failure, match="--rate must be dollars and cents") as caught:
        await onto(rate=text)
    assert caught.value.exit_code == USAGE


async def test_ratings_and_features_are_words() -> None:
    film, _ = await onto(rating="pg-13", features=["trailers", "Deleted-Scenes"])
    assert film.rating is FilmRating.PG_13
    assert film.special_features == [SpecialFeature.TRAILERS, SpecialFeature.DELETED_SCENES]
    with pytest.raises(typer.BadParameter, match="PG-13"):
        await onto(rating="X")
    with pytest.raises(Failure, match="deleted-scenes, behind-the-scenes"):
        await onto(features=["X"])


def test_json_says_which_fields_it_sets() -> None:
    film, fields = film_of_json(
        '{"name": "films/1", "title": "M", "releaseYear": null, "etag": "e"}'
    )
    assert (film.name, film.etag) == ("films/1", "e")
    assert fields == ["title", "release_year"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "a JSON object must be there"),
        ("null", "a JSON object must be there"),
        ('{"title": 3}', "not a film"),
        ('{"bogus": 1}', "Unknown field 'bogus'"),
        ('{"rentalRate": 5}', "not a film"),
        ('{"releaseYear": "x"}', "x"),
        ('{"createTime": "yesterday"}', "Expected 4 digits"),
        ('{"releaseYear": 99999999999999999999}', "release_year"),
        ('{"lengthMinutes": 4294967297}', "length_minutes"),
        ('{"rentalRate": {"units": "1", "nanos": 4294967296}}', "rental_rate"),
    ],
)
def test_json_that_is_no_film_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        film_of_json(text)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="cannot read"):
        read_film(str(tmp_path / "none"))
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(Failure, match="is not UTF-8"):
        read_film(str(tmp_path / "latin"))


async def test_films_are_known_by_their_line(tmp_path: Path) -> None:
    file = tmp_path / "films"
    file.write_bytes('{"title": "É"}\n\n{"title": "B"}\n  \n{"title": "C"}'.encode())
    source, taken = Source(str(file)), list[int]()
    with source.opened():
        titles = [film.title async for film in source.films(taken.append)]
    assert titles == ["É", "B", "C"]
    assert source.size == sum(taken) == file.stat().st_size
    source.sent(ImportProgress(1, 2, None))
    assert [source.line_of(1, 0), source.line_of(1, 1), source.line_of(2, 0)] == [1, 3, 5]
    assert source.line_of(2, 1) == 0


async def test_a_line_that_is_no_film_is_told_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "films"
    for bad, why in [(b"{oops", "line 2: not JSON"), (b'{"title": "\xff"}', "line 2: not UTF-8")]:
        file.write_bytes(b'{"title": "A"}\n' + bad)
        source = Source(str(file))
        with source.opened(), pytest.raises(BadLine, match=why):
            assert [film async for film in source.films(lambda _: None)]
