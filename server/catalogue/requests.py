"""The rules that the catalogue's requests must meet, each request a command model."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from server.catalogue.mapping import number_of
from server.query.requests import FilterText, ListFiltered, ListRows


def numbered(collection: str) -> AfterValidator:
    """Return the rule of a name of one of a collection's rows."""

    def check(name: str) -> str:
        if number_of(name, collection) is None:
            raise ValueError(f"must be a name like {collection}/17")
        return name

    return AfterValidator(check)


FilmName = Annotated[str, numbered("films")]
View = Annotated[int, Field(ge=0, le=2)]


class GetFilm(BaseModel):
    """Rules of GetFilmRequest."""

    name: FilmName
    view: View


class BatchGetFilms(BaseModel):
    """Rules of BatchGetFilmsRequest."""

    names: Annotated[list[FilmName], Field(min_length=1, max_length=1000)]
    view: View


class ListFilms(ListFiltered):
    """Rules of ListFilmsRequest."""

    view: View
    skip: Annotated[int, Field(ge=0, le=10_000)]


class SearchFilms(ListRows):
    """Rules of SearchFilmsRequest."""

    query: Annotated[str, Field(min_length=1, max_length=512)]
    filter: FilterText
    view: View
    ranking: Annotated[int, Field(ge=0, le=2)]
