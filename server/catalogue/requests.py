"""The rules that the catalogue's requests must meet, each request a command model."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from server.catalogue.mapping import number_of

DEFAULT_PAGE = 50
MAX_PAGE = 1000


def _number(collection: str) -> AfterValidator:
    def check(name: str) -> str:
        if number_of(name, collection) is None:
            raise ValueError(f"must be a name like {collection}/17")
        return name

    return AfterValidator(check)


def _page_size(size: int) -> int:
    if size < 0:
        raise ValueError("must be 0 (for the default of 50) or more")
    return min(size, MAX_PAGE) or DEFAULT_PAGE


FilmName = Annotated[str, _number("films")]
PageSize = Annotated[int, AfterValidator(_page_size)]
PageToken = Annotated[str, Field(max_length=2048)]
FilterText = Annotated[str, Field(max_length=2048)]
View = Annotated[int, Field(ge=0, le=2)]


class GetFilm(BaseModel):
    """Rules of GetFilmRequest."""

    name: FilmName
    view: View


class BatchGetFilms(BaseModel):
    """Rules of BatchGetFilmsRequest."""

    names: Annotated[list[FilmName], Field(min_length=1, max_length=1000)]
    view: View


class ListRows(BaseModel):
    """Rules of a list request without filter."""

    page_size: PageSize
    page_token: PageToken


class ListFilms(ListRows):
    """Rules of ListFilmsRequest."""

    filter: FilterText
    order_by: Annotated[str, Field(max_length=256)]
    view: View
    skip: Annotated[int, Field(ge=0, le=10_000)]


class SearchFilms(ListRows):
    """Rules of SearchFilmsRequest."""

    query: Annotated[str, Field(min_length=1, max_length=512)]
    filter: FilterText
    view: View


class GetCategory(BaseModel):
    """Rules of GetCategoryRequest."""

    name: Annotated[str, _number("categories")]


class GetActor(BaseModel):
    """Rules of GetActorRequest."""

    name: Annotated[str, _number("actors")]


class GetLanguage(BaseModel):
    """Rules of GetLanguageRequest."""

    name: Annotated[str, _number("languages")]
