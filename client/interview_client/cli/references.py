"""Categories, actors and languages, called by name or by number."""

import re

from interview_client.catalogue import Catalogue
from interview_client.messages import Actor

from . import filters
from .failures import Failure

_NUMBER = re.compile(r"[0-9]+")


async def category_called(calls: Catalogue, text: str, *, allow_missing: bool = False) -> str:
    """Return the resource name of a category; "" for none where that is allowed."""
    if named := _named("categories", text):
        return named
    found = [
        category.name
        async for category in calls.list_categories(page_size=1000)
        if _same(category.display_name, text)
    ]
    return _the_one(found, "category", text, "interview categories", allow_missing=allow_missing)


async def actor_called(calls: Catalogue, text: str, *, allow_missing: bool = False) -> str:
    """Return the resource name of an actor; "" for none where that is allowed."""
    if named := _named("actors", text):
        return named
    words = text.split()
    condition = filters.contains("family_name", words[-1] if words else text)
    found = [
        actor.name
        async for actor in calls.list_actors(filter=condition, page_size=1000)
        if _same(_full_name(actor), text)
    ]
    return _the_one(found, "actor", text, "interview actors --all", allow_missing=allow_missing)


async def language_called(calls: Catalogue, text: str) -> str:
    """Return the resource name of a language."""
    if named := _named("languages", text):
        return named
    languages = [language async for language in calls.list_languages(page_size=1000)]
    found = [language.name for language in languages if _same(language.display_name, text)]
    names = ", ".join(language.display_name for language in languages)
    if not found:
        raise Failure(f"there is no language {text}; there are: {names}")
    return found[0]


def _named(collection: str, text: str) -> str:
    if text.startswith(f"{collection}/"):
        return text
    return f"{collection}/{text}" if _NUMBER.fullmatch(text) else ""


def _same(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def _full_name(actor: Actor) -> str:
    return f"{actor.given_name} {actor.family_name}"


def _the_one(
    found: list[str], kind: str, text: str, list_command: str, *, allow_missing: bool
) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(f"several are called {text}, say which: {', '.join(found)}")
    if allow_missing:
        return ""
    raise Failure(f"there is no {kind} {text}; see: {list_command}")
