"""Commands of the film catalogue."""

import asyncio
from typing import Annotated

import typer

from interview_client.messages import SearchRanking

from . import filters
from .connection import Connection
from .film_columns import FILM, FILM_DETAILS, MATCH
from .lists import show_list
from .options import Config, Deleted, Everything, Filter, Json, Limit, OrderBy, Target
from .output import Output, page_size

films = typer.Typer(
    help="Find films, look at them, change, move and follow them.", no_args_is_help=False
)


@films.command()
def search(
    words: Annotated[list[str], typer.Argument(help="Words of titles or descriptions.")],
    condition: Filter = "",
    meaning: Annotated[
        bool, typer.Option("--meaning", help="Also what means nearly the same, if the server can.")
    ] = False,
    limit: Limit = 20,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Find films by words, best match first."""
    query, size = " ".join(words), page_size(limit)
    ranking = SearchRanking.TEXT_AND_MEANING if meaning else SearchRanking.UNSPECIFIED
    show_list(
        Connection(target, config),
        lambda catalogue: catalogue.search_films(
            query, filter=condition, ranking=ranking, page_size=size
        ),
        MATCH,
        Output(json=json),
        limit,
    )


@films.command("list")
def list_films(  # noqa: PLR0913, PLR0917  # the options of the command
    category: Annotated[str, typer.Option(help="Part of a category's name.")] = "",
    actor: Annotated[str, typer.Option(help="Part of an actor's name.")] = "",
    rating: Annotated[str, typer.Option(help="One of " + ", ".join(filters.RATINGS) + ".")] = "",
    year: Annotated[int | None, typer.Option(help="Year of release.")] = None,
    condition: Filter = "",
    order_by: OrderBy = "",
    deleted: Deleted = False,
    limit: Limit = 20,
    everything: Everything = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """List films that meet every condition."""
    text = film_filter(category, actor, rating, year, condition)
    most = None if everything else limit
    show_list(
        Connection(target, config),
        lambda catalogue: catalogue.list_films(
            filter=text, order_by=order_by, show_deleted=deleted, page_size=page_size(most)
        ),
        FILM,
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
        Output(json=json).details(found, FILM_DETAILS)

    asyncio.run(run())


def film_filter(category: str, actor: str, rating: str, year: int | None, condition: str) -> str:
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
