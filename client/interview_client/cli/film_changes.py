"""Commands that change films."""

from collections.abc import Mapping
from typing import Annotated

import typer

from interview_client.catalogue import Catalogue
from interview_client.film_changes import SETTABLE
from interview_client.messages import Film
from interview_client.names import resource_name

from .connection import Connection
from .failures import USAGE, Failure
from .film_columns import FILM_DETAILS
from .film_options import (
    Actors,
    Categories,
    Cost,
    Days,
    Description,
    Features,
    File,
    FilmOptions,
    Language,
    Length,
    Original,
    Rate,
    Rating,
    Streaming,
    Title,
    Year,
    read_film,
)
from .films import films
from .lists import called
from .options import AllowMissing, Config, Etag, Force, Json, Target, ValidateOnly, Yes
from .output import Output
from .questions import confirm

FilmName = Annotated[str, typer.Argument(metavar="NAME_OR_NUMBER", help="films/17 or 17.")]
Clear = Annotated[
    list[str] | None,
    typer.Option("--clear", help="A field to leave without a value, as release_year."),
]


@films.command()
def create(  # noqa: PLR0913, PLR0917  # the options of the command
    title: Title = None,
    description: Description = None,
    year: Year = None,
    language: Language = None,
    original_language: Original = None,
    category: Categories = None,
    actor: Actors = None,
    rating: Rating = None,
    length: Length = None,
    days: Days = None,
    rate: Rate = None,
    cost: Cost = None,
    feature: Features = None,
    streaming: Streaming = None,
    file: File = "",
    validate_only: ValidateOnly = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Create a film, of options, of JSON, or of both: options win."""
    options = FilmOptions(
        *(title, description, year, language, original_language, category, actor),
        *(rating, length, days, rate, cost, feature, streaming),
    )
    if options.is_empty and not file:
        raise Failure("say what film: --title and --language, or --file", USAGE)
    film, _ = read_film(file) if file else (Film(), [])

    async def make(calls: Catalogue) -> Film:
        await options.onto(film, calls)
        return await calls.create_film(film, validate_only=validate_only)

    Output(json=json).details(called(Connection(target, config), make), FILM_DETAILS)


@films.command()
def update(  # noqa: PLR0913, PLR0917  # the options of the command
    film: FilmName,
    title: Title = None,
    description: Description = None,
    year: Year = None,
    language: Language = None,
    original_language: Original = None,
    category: Categories = None,
    actor: Actors = None,
    rating: Rating = None,
    length: Length = None,
    days: Days = None,
    rate: Rate = None,
    cost: Cost = None,
    feature: Features = None,
    streaming: Streaming = None,
    file: File = "",
    clear: Clear = None,
    etag: Etag = "",
    validate_only: ValidateOnly = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Set fields of a film, and leave the others; of a list, as --category, the whole is set."""
    options = FilmOptions(
        *(title, description, year, language, original_language, category, actor),
        *(rating, length, days, rate, cost, feature, streaming),
    )
    cleared = _cleared(clear or [], options.given)
    wanted, named = read_film(file) if file else (Film(), [])
    if options.is_empty and not (named or cleared):
        raise Failure("say what to set, as --title, --file or --clear", USAGE)

    async def change(calls: Catalogue) -> Film:
        given = await options.onto(wanted, calls)
        wanted.name = resource_name("films", film)
        # An etag in the file is of the state that somebody looked at.
        wanted.etag = etag or wanted.etag
        empty = Film()
        for field in cleared:
            setattr(wanted, field, getattr(empty, field))
        fields = sorted({*named, *given, *cleared})
        return await calls.update_film(wanted, fields=fields, validate_only=validate_only)

    Output(json=json).details(called(Connection(target, config), change), FILM_DETAILS)


@films.command()
def delete(  # the options of the command
    film: FilmName,
    etag: Etag = "",
    force: Force = False,
    allow_missing: AllowMissing = False,
    yes: Yes = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Delete a film; for 30 days that can be undone."""
    name = resource_name("films", film)
    confirm(f"delete {name}?", yes=yes)
    deleted = called(
        Connection(target, config),
        lambda calls: calls.delete_film(name, etag=etag, force=force, allow_missing=allow_missing),
    )
    Output(json=json).details(deleted, FILM_DETAILS)


@films.command()
def undelete(
    film: FilmName,
    etag: Etag = "",
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Take a deletion back."""
    restored = called(
        Connection(target, config), lambda calls: calls.undelete_film(film, etag=etag)
    )
    Output(json=json).details(restored, FILM_DETAILS)


def _cleared(names: list[str], given: Mapping[str, str]) -> list[str]:
    fields = [name.strip().replace("-", "_") for name in names]
    for field in fields:
        if field not in SETTABLE:
            raise Failure(f"--clear {field}: no such field; fields: {', '.join(SETTABLE)}", USAGE)
        if field in given:
            raise Failure(f"--clear {field} and {given[field]}: say one of them", USAGE)
    return fields
