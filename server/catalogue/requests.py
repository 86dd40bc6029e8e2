"""The rules that the catalogue's requests must meet, each request a command model."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from server.catalogue.mapping import number_of
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2
from server.query.requests import FilterText, ListFiltered, ListRows


def numbered(collection: str) -> AfterValidator:
    """Return the rule of a name of one of a collection's rows."""

    def check(name: str) -> str:
        if number_of(name, collection) is None:
            raise ValueError(f"must be a name like {collection}/17")
        return name

    return AfterValidator(check)


def known(kind: Any) -> AfterValidator:
    """Return the rule of a choice among an enum's values, its unspecified one included."""

    def check(value: int) -> int:
        if value not in kind.values():
            names = " or ".join(name for name, number in kind.items() if number)
            raise ValueError(f"must be {names} (or unspecified)")
        return value

    return AfterValidator(check)


FilmName = Annotated[str, numbered("films")]
View = Annotated[int, known(resources_pb2.FilmView)]


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
    ranking: Annotated[int, known(film_pb2.SearchRanking)]
