"""The sample catalogue: the shipped file is sound, and a broken one says where."""

import re
import tomllib
import unicodedata
from collections import defaultdict

import pytest

from server.catalogue.sample import SampleFilm, parse_sample_films, read_sample_films

CATEGORIES = {
    *("Action", "Animation", "Children", "Classics", "Comedy", "Documentary", "Drama", "Family"),
    *("Foreign", "Games", "Horror", "Music", "New", "Sci-Fi", "Sports", "Travel"),
    *("Adventure", "Crime", "Fantasy", "Musical", "Mystery", "Romance", "Thriller", "War"),
    "Western",
}

ENTRY = """
[[film]]
title = "The Seventh Seal"
year = 1957
rating = "PG"
minutes = 96
language = "Swedish"
actors = ["Max | von Sydow", "Bengt Ekerot"]
categories = ["Drama"]
description = "A knight plays chess with Death."
"""


@pytest.fixture(scope="module")
def films() -> tuple[SampleFilm, ...]:
    return read_sample_films()


def replaced(old: str, new: str) -> str:
    assert ENTRY.count(old) == 1
    return ENTRY.replace(old, new)


def test_the_catalogue_is_large_and_lists_no_film_twice(films: tuple[SampleFilm, ...]) -> None:
    assert len(films) >= 250
    # Titles that differ only in case or accents would be one film entered twice.
    keys = [(plain(film.title), film.year) for film in films]
    assert len(set(keys)) == len(keys)


def test_films_are_sorted_by_title_and_year(films: tuple[SampleFilm, ...]) -> None:
    assert list(films) == sorted(films, key=lambda film: (film.title, film.year))


def test_every_value_fits_the_database(films: tuple[SampleFilm, ...]) -> None:
    for film in films:
        assert 1901 <= film.year <= 2155, film.title
        assert 1 <= film.minutes <= 1000, film.title
        assert film.rating in {"G", "PG", "PG-13", "R", "NC-17", None}, film.title
        assert 1 <= len(film.language) <= 20, film.title
        assert len(film.title) <= 255, film.title
        assert all(len(part) <= 45 for actor in film.actors for part in actor), film.title


def test_every_film_has_actors_and_known_categories(films: tuple[SampleFilm, ...]) -> None:
    for film in films:
        assert 2 <= len(set(film.actors)) == len(film.actors) <= 4, film.title
        assert all(given and family for given, family in film.actors), film.title
        assert 1 <= len(set(film.categories)) == len(film.categories) <= 3, film.title
        assert set(film.categories) <= CATEGORIES, film.title


def test_every_description_is_one_sentence_of_its_own(films: tuple[SampleFilm, ...]) -> None:
    for film in films:
        assert 30 <= len(film.description) <= 200, film.title
        assert film.description.endswith("."), film.title
        assert not re.search(r"[.!?…]\s|\n", film.description), film.title
    assert len({film.description for film in films}) == len(films)


def test_ratings_are_not_older_than_the_rating_they_name(films: tuple[SampleFilm, ...]) -> None:
    # NC-17 exists since 1990 and replaced X; older films may carry PG-13 from a reissue.
    assert not [film.title for film in films if film.rating == "NC-17" and film.year < 1990]


def test_languages_decades_and_kinds_are_mixed(films: tuple[SampleFilm, ...]) -> None:
    foreign = [film for film in films if film.language != "English"]
    assert len(foreign) >= 45
    assert len({film.language for film in foreign}) >= 12
    assert {film.year // 10 * 10 for film in films} >= set(range(1920, 2021, 10))
    used = {category for film in films for category in film.categories}
    assert used >= CATEGORIES - {"New"}  # a file that ships for years cannot say what is new


def test_foreign_stands_on_exactly_the_films_not_in_english(films: tuple[SampleFilm, ...]) -> None:
    for film in films:
        assert ("Foreign" in film.categories) == (film.language != "English"), film.title


def test_dinosaurs_can_be_found(films: tuple[SampleFilm, ...]) -> None:
    found = {film.title for film in films if re.search(r"\bdinosaurs?\b", film.description)}
    assert len(found) >= 5
    assert {"Jurassic Park", "The Land Before Time", "One Million Years B.C."} <= found


def test_an_actor_is_spelled_one_way(films: tuple[SampleFilm, ...]) -> None:
    spellings: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for film in films:
        for given, family in film.actors:
            spellings[plain(given + family)].add((given, family))
    assert [names for names in spellings.values() if len(names) > 1] == []


@pytest.mark.parametrize(
    ("title", "actor"),
    [
        ("The Seventh Seal", ("Max", "von Sydow")),
        ("Raging Bull", ("Robert", "De Niro")),
        ("Iron Man", ("Robert", "Downey Jr.")),
        ("Pulp Fiction", ("Samuel L.", "Jackson")),
        ("Parasite", ("Kang-ho", "Song")),
    ],
)
def test_names_are_split_into_given_and_family_name(
    films: tuple[SampleFilm, ...], title: str, actor: tuple[str, str]
) -> None:
    [film] = [film for film in films if film.title == title]
    assert actor in film.actors


def test_an_entry_is_read_as_written() -> None:
    assert parse_sample_films(ENTRY) == (
        SampleFilm(
            title="The Seventh Seal",
            year=1957,
            rating="PG",
            minutes=96,
            language="Swedish",
            actors=(("Max", "von Sydow"), ("Bengt", "Ekerot")),
            categories=("Drama",),
            description="A knight plays chess with Death.",
        ),
    )


def test_a_film_without_rating_has_none() -> None:
    [film] = parse_sample_films(replaced('rating = "PG"\n', ""))
    assert film.rating is None


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("year = 1957\n", "", "year"),
        ("year = 1957", "year = 1900", "year"),
        ("year = 1957", "year = 2156", "year"),
        ("year = 1957", 'year = "1957"', "year"),
        ("year = 1957", "year = 1957.0", "year"),
        ("minutes = 96", "minutes = 0", "minutes"),
        ("minutes = 96", "minutes = true", "minutes"),
        ("minutes = 96", "minutes = 1001", "minutes"),
        ('"PG"', '"X"', "rating"),
        ('"PG"', '""', "rating"),
        ('"Swedish"', '" "', "language"),
        ('"Max | von Sydow", ', "", "actors"),
        ('"Bengt Ekerot"', '"Ekerot"', "actors"),
        ('"Bengt Ekerot"', '"Bengt |"', "actors"),
        ('"Bengt Ekerot"', '"Bengt | Ekerot | Jr."', "actors"),
        ('"Bengt Ekerot"', "7", "actors"),
        ('"Bengt Ekerot"', '"Max | von Sydow"', "actors"),
        ('["Drama"]', "[]", "categories"),
        ('["Drama"]', '"Drama"', "categories"),
        ('["Drama"]', '["A", "B", "C", "D"]', "categories"),
        ('["Drama"]', f'["{"x" * 26}"]', "categories"),
        ('description = "A knight plays chess with Death."\n', "", "description"),
        ("minutes = 96", "minutes = 96\nlength = 96", "length"),
    ],
)
def test_a_broken_entry_names_film_and_key(old: str, new: str, key: str) -> None:
    with pytest.raises(ValueError, match=f"'The Seventh Seal': {key}: "):
        parse_sample_films(replaced(old, new))


@pytest.mark.parametrize("line", ["", 'title = ""\n', "title = 12\n"])
def test_a_film_without_title_is_named_by_its_position(line: str) -> None:
    untitled = replaced('title = "The Seventh Seal"\n', line)
    with pytest.raises(ValueError, match="number 2: title: "):
        parse_sample_films(ENTRY + untitled)


def test_a_film_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'The Seventh Seal': year: 1957 is listed twice"):
        parse_sample_films(ENTRY + ENTRY)


def test_a_remake_of_the_same_title_is_another_film() -> None:
    films = parse_sample_films(ENTRY + replaced("year = 1957", "year = 2027"))
    assert [film.year for film in films] == [1957, 2027]


@pytest.mark.parametrize("text", ["", "film = 1", '[film]\ntitle = "One"', f"version = 1\n{ENTRY}"])
def test_a_document_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\[\[film\]\]"):
        parse_sample_films(text)


def test_text_that_is_not_toml_names_its_line() -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match="line 4"):
        parse_sample_films(replaced("year = 1957", "year 1957"))


def plain(text: str) -> str:
    """Letters and digits only, without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if character.isalnum())
