"""Categories and actors: lists of them, and changing them."""

from typing import Annotated

import typer

from interview_client.catalogue import Catalogue
from interview_client.messages import Actor, Category

from .connection import Connection
from .film_columns import ACTOR, CATEGORY
from .lists import called, show_list
from .options import (
    ActorFilter,
    ActorOrder,
    AllowMissing,
    CategoryFilter,
    CategoryOrder,
    Config,
    Etag,
    Everything,
    Force,
    Json,
    Limit,
    Target,
    Yes,
)
from .output import Output, note, page_size
from .questions import confirm
from .references import actor_called, category_called

categories = typer.Typer(help="List categories and change them.", invoke_without_command=True)
actors = typer.Typer(help="List actors and change them.", invoke_without_command=True)

CategoryName = Annotated[
    str, typer.Argument(metavar="CATEGORY", help='categories/1, only 1, or its name, as "Horror".')
]
ActorName = Annotated[
    str, typer.Argument(metavar="ACTOR", help='actors/1, only 1, or the name, as "Jeff Goldblum".')
]


@categories.callback()
def list_categories(  # the options of the command
    context: typer.Context,
    condition: CategoryFilter = "",
    order_by: CategoryOrder = "",
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """List the categories; with a command, change them."""
    if context.invoked_subcommand is not None:
        return
    show_list(
        Connection(target, config),
        lambda catalogue: catalogue.list_categories(
            filter=condition, order_by=order_by, page_size=page_size(None)
        ),
        CATEGORY,
        Output(json=json),
        None,
    )


@categories.command("create")
def create_category(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Create a category."""
    category = Category(display_name=name)
    made = called(Connection(target, config), lambda calls: calls.create_category(category))
    Output(json=json).details(made, CATEGORY)


@categories.command("rename")
def rename_category(
    category: CategoryName,
    name: Annotated[str, typer.Argument(help="What it is called from now on.")],
    etag: Etag = "",
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Give a category another name; its films have it at once."""

    async def rename(calls: Catalogue) -> Category:
        found = await category_called(calls, category)
        changed = Category(name=found, display_name=name, etag=etag)
        return await calls.update_category(changed, fields=["display_name"])

    renamed = called(Connection(target, config), rename)
    Output(json=json).details(renamed, CATEGORY)


@categories.command("delete")
def delete_category(  # the options of the command
    category: CategoryName,
    etag: Etag = "",
    force: Force = False,
    allow_missing: AllowMissing = False,
    yes: Yes = False,
    target: Target = "",
    config: Config = None,
) -> None:
    """Delete a category for good; --force takes it out of its films first."""
    confirm(f"delete the category {category} for good?", yes=yes)

    async def delete(calls: Catalogue) -> str:
        found = await category_called(calls, category, allow_missing=allow_missing)
        if found:
            await calls.delete_category(found, etag=etag, force=force, allow_missing=allow_missing)
        return found

    note(f"deleted {called(Connection(target, config), delete) or 'nothing'}")


@actors.callback()
def list_actors(  # the options of the command
    context: typer.Context,
    condition: ActorFilter = "",
    order_by: ActorOrder = "",
    limit: Limit = 20,
    everything: Everything = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """List the actors; with a command, change them."""
    if context.invoked_subcommand is not None:
        return
    most = None if everything else limit
    show_list(
        Connection(target, config),
        lambda catalogue: catalogue.list_actors(
            filter=condition, order_by=order_by, page_size=page_size(most)
        ),
        ACTOR,
        Output(json=json),
        most,
    )


@actors.command("create")
def create_actor(
    given: Annotated[str, typer.Argument(metavar="GIVEN_NAME")],
    family: Annotated[str, typer.Argument(metavar="FAMILY_NAME")],
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Create an actor."""
    actor = Actor(given_name=given, family_name=family)
    made = called(Connection(target, config), lambda calls: calls.create_actor(actor))
    Output(json=json).details(made, ACTOR)


@actors.command("rename")
def rename_actor(  # the options of the command
    actor: ActorName,
    given: Annotated[str, typer.Argument(metavar="GIVEN_NAME")],
    family: Annotated[str, typer.Argument(metavar="FAMILY_NAME")],
    etag: Etag = "",
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Give an actor another name; the films have it at once."""

    async def rename(calls: Catalogue) -> Actor:
        found = await actor_called(calls, actor)
        changed = Actor(name=found, given_name=given, family_name=family, etag=etag)
        return await calls.update_actor(changed, fields=["given_name", "family_name"])

    Output(json=json).details(called(Connection(target, config), rename), ACTOR)


@actors.command("delete")
def delete_actor(  # the options of the command
    actor: ActorName,
    etag: Etag = "",
    force: Force = False,
    allow_missing: AllowMissing = False,
    yes: Yes = False,
    target: Target = "",
    config: Config = None,
) -> None:
    """Delete an actor for good; --force takes the actor out of all films first."""
    confirm(f"delete the actor {actor} for good?", yes=yes)

    async def delete(calls: Catalogue) -> str:
        found = await actor_called(calls, actor, allow_missing=allow_missing)
        if found:
            await calls.delete_actor(found, etag=etag, force=force, allow_missing=allow_missing)
        return found

    note(f"deleted {called(Connection(target, config), delete) or 'nothing'}")
