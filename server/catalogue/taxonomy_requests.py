"""The rules that requests about categories, actors and languages must meet."""

from typing import Annotated

from pydantic import BaseModel

from server.catalogue.requests import numbered

CategoryName = Annotated[str, numbered("categories")]
ActorName = Annotated[str, numbered("actors")]


class GetCategory(BaseModel):
    """Rules of GetCategoryRequest."""

    name: CategoryName


class GetActor(BaseModel):
    """Rules of GetActorRequest."""

    name: ActorName


class GetLanguage(BaseModel):
    """Rules of GetLanguageRequest."""

    name: Annotated[str, numbered("languages")]
