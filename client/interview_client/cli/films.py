"""Commands of the film catalogue."""

import asyncio
from collections.abc import AsyncIterable, Callable, Sequence
from typing import Annotated

import typer

from interview_client.catalogue import Catalogue
from interview_client.messages import Actor, Category, Film, FilmMatch, FilmRating, Money

from . import filters
from .connection import Connection
from .options import Config, Everything, Json, Limit, Target
from .output import Column, MessageT, Output, page_size

films = typer.Typer(help="Find films and look at them.", no_args_is_help=False)

_RATING_NAMES = {word: text for text, word in filters.RATINGS.items()}


def _rating_text(film: Film) -> str:
    return _RATING_NAMES.get(FilmRating(film.rating).name or "", "")


def _minutes(film: Film) -> str:
    return "" if film.length_minutes is None else f"{film.length_minutes} min"


def _year(film: Film) -> str:
    return "" if film.release_year is None else str(film.release_year)


def _categories(film: Film) -> str:
    return ", ".join(film.labels.categories) if film.labels else ""


def _money(amount: Money | None) -> str:
    return (
        f"{amount.units}.{amount.nanos // 10_000_000:02d} {amount.currency_code}" if amount else ""
    )


_FILM: tuple[Column[Film], ...] = (
    Column("film", lambda film: film.name),
    Column("title", lambda film: film.title),
    Column("year", _year),
    Column("rating", _rating_text),
    Column("length", _minutes),
    Column("categories", _categories),
)
_FILM_DETAILS: tuple[Column[Film], ...] = (
    *_FILM,
    Column("actors", lambda film: ", ".join(film.labels.actors) if film.labels else ""),
    Column("language", lambda film: film.labels.language if film.labels else ""),
    Column("original language", lambda f: f.labels.original_language if f.labels else ""),
    Column("description", lambda film: film.description),
    Column("rental", lambda film: _money(film.rental_rate)),
    Column("replacement", lambda film: _money(film.replacement_cost)),
)
_CATEGORY: tuple[Column[Category], ...] = (
    Column("category", lambda category: category.name),
    Column("called", lambda category: category.display_name),
    Column("films", lambda category: str(category.film_count)),
)
_ACTOR: tuple[Column[Actor], ...] = (
    Column("actor", lambda actor: actor.name),
    Column("called", lambda actor: f"{actor.given_name} {actor.family_name}"),
    Column("films", lambda actor: str(actor.film_count)),
)


def _of_match(column: Column[Film]) -> Column[FilmMatch]:
    return Column(column.header, lambda match: column.value(match.film) if match.film else "")


_MATCH = tuple(_of_match(column) for column in _FILM)


@films.command()
def search(
    words: Annotated[list[str], typer.Argument(help="Words of titles or descriptions.")],
    limit: Limit = 20,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Find films by words, best match first."""
    query, size = " ".join(words), page_size(limit)
    _show(
        Connection(target, config),
        lambda catalogue: catalogue.search_films(query, page_size=size),
        _MATCH,
        Output(json=json),
        limit,
    )


@films.command("list")
def list_films(  # noqa: PLR0913, PLR0917  # the options of the command
    category: Annotated[str, typer.Option(help="Part of a category's name.")] = "",
    actor: Annotated[str, typer.Option(help="Part of an actor's name.")] = "",
    rating: Annotated[str, typer.Option(help="One of " + ", ".join(filters.RATINGS) + ".")] = "",
    year: Annotated[int | None, typer.Option(help="Year of release.")] = None,
    condition: Annotated[
        str, typer.Option("--filter", help='More conditions, as "length_minutes < 90".')
    ] = "",
    order_by: Annotated[
        str, typer.Option("--order-by", help='Fields, as "release_year desc, title".')
    ] = "",
    limit: Limit = 20,
    everything: Everything = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """List films that meet every condition."""
    text = _film_filter(category, actor, rating, year, condition)
    most = None if everything else limit
    _show(
        Connection(target, config),
        lambda catalogue: catalogue.list_films(
            filter=text, order_by=order_by, page_size=page_size(most)
        ),
        _FILM,
        Output(json=json),
        most,
    )


@films.command()
def show(
    film: Annotated[str, typer.Argument(metavar="NAME_OR_NUMBER", help="films/17 or 17.")],
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Show everything about one film."""
    connection = Connection(target, config)

    async def run() -> None:
        async with connection.client() as client:
            found = await client.catalogue.get_film(film)
        Output(json=json).details(found, _FILM_DETAILS)

    asyncio.run(run())


def categories(target: Target = "", config: Config = None, json: Json = False) -> None:
    """List the categories."""
    _show(
        Connection(target, config),
        lambda catalogue: catalogue.list_categories(page_size=page_size(None)),
        _CATEGORY,
        Output(json=json),
        None,
    )


def actors(
    limit: Limit = 20,
    everything: Everything = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """List the actors."""
    most = None if everything else limit
    _show(
        Connection(target, config),
        lambda catalogue: catalogue.list_actors(page_size=page_size(most)),
        _ACTOR,
        Output(json=json),
        most,
    )


def _film_filter(category: str, actor: str, rating: str, year: int | None, condition: str) -> str:
    try:
        word = filters.rating(rating) if rating else ""
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--rating") from error
    return filters.all_of(
        (
            filters.contains("labels.categories", category),
            filters.contains("labels.actors", actor),
            filters.equals("rating", word),
            filters.equals("release_year", year),
        ),
        condition,
    )


def _show(
    connection: Connection,
    fetch: Callable[[Catalogue], AsyncIterable[MessageT]],
    columns: Sequence[Column[MessageT]],
    output: Output,
    limit: int | None,
) -> None:
    async def run() -> None:
        async with connection.client() as client:
            await output.items(fetch(client.catalogue), columns, limit=limit)

    asyncio.run(run())
