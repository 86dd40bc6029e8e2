"""Arguments of the catalogue tools: their JSON Schema, their checks, their filter."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from server.agent.engine import ToolError

A = TypeVar("A", bound=BaseModel)

Rating = Literal["G", "PG", "PG-13", "R", "NC-17"]
Sort = Literal["title", "newest", "oldest", "shortest", "longest"]

ORDER_BY: Mapping[Sort, str] = {
    "title": "title",
    "newest": "release_year desc, title",
    "oldest": "release_year, title",
    "shortest": "length_minutes, title",
    "longest": "length_minutes desc, title",
}
# A film without the value has no place in the order: "the longest" must not begin with it.
_NEEDED_BY_SORT: Mapping[Sort, str] = {
    "newest": "release_year > 0",
    "oldest": "release_year > 0",
    "shortest": "length_minutes > 0",
    "longest": "length_minutes > 0",
}

_Name = Annotated[str, Field(min_length=1, max_length=64)]
_Year = Annotated[int, Field(ge=1901, le=2155)]
_Minutes = Annotated[int, Field(ge=1, le=32767)]
_Limit = Annotated[int, Field(ge=1, le=25)]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class FilmConditions(_Arguments):
    """What films must meet; all that are given."""

    category: _Name | None = Field(None, description="Part of a category's name: Horror")
    actor: _Name | None = Field(None, description="Part of an actor's name: Guiness")
    language: _Name | None = Field(None, description="Name of the language: English")
    rating: Rating | None = Field(None, description="Age rating")
    year: _Year | None = Field(None, description="Release year")
    year_from: _Year | None = Field(None, description="Released in this year or later")
    year_to: _Year | None = Field(None, description="Released in this year or earlier")
    min_minutes: _Minutes | None = Field(None, description="Runs at least so many minutes")
    max_minutes: _Minutes | None = Field(None, description="Runs at most so many minutes")

    @field_validator("rating", mode="before")
    @classmethod
    def _spelling(cls, value: object) -> object:
        """Accept PG13, pg_13 and nc-17 for the ratings people mean."""
        if not isinstance(value, str):
            return value
        plain = value.strip().upper().replace("_", "").replace("-", "")
        return {"PG13": "PG-13", "NC17": "NC-17"}.get(plain, plain)

    def where(self) -> str:
        """Return the conditions as a catalogue filter (AIP-160)."""
        parts = [
            self.category and f"contains(labels.categories, {quoted(self.category)})",
            self.actor and f"contains(labels.actors, {quoted(self.actor)})",
            self.language and f"contains(labels.language, {quoted(self.language)})",
            self.rating and f"rating = {self.rating.replace('-', '_')}",
            self.year and f"release_year = {self.year}",
            self.year_from and f"release_year >= {self.year_from}",
            self.year_to and f"release_year <= {self.year_to}",
            self.min_minutes and f"length_minutes >= {self.min_minutes}",
            self.max_minutes and f"length_minutes <= {self.max_minutes}",
        ]
        return " AND ".join(part for part in parts if part)


class SearchFilmsArguments(FilmConditions):
    """Words to look for."""

    query: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Words of the title or description: dinosaur"
    )
    limit: _Limit = Field(10, description="How many films at most")


class ListFilmsArguments(FilmConditions):
    """Conditions and an order."""

    sort: Sort = Field("title", description="Order of the films")
    limit: _Limit = Field(10, description="How many films at most")

    def where(self) -> str:
        """Return the conditions, and what the order needs, as a catalogue filter."""
        needed = _NEEDED_BY_SORT.get(self.sort, "")
        return " AND ".join(part for part in (super().where(), needed) if part)


class GetFilmArguments(_Arguments):
    """Which film."""

    film: Annotated[str, Field(min_length=1, max_length=255)] = Field(
        description="Name (films/17), number (17) or title of the film"
    )

    @field_validator("film", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return str(value) if is_number else value


class NoArguments(_Arguments):
    """None at all."""


def quoted(text: str) -> str:
    """Return the text as a filter's string literal, without control characters."""
    printable = "".join(char for char in text if char.isprintable())
    escaped = printable.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*")
    return f'"{escaped}"'


def parameters_schema(model: type[BaseModel]) -> dict[str, object]:
    """Return the JSON Schema of a model, reduced to what models of language read."""
    schema = model.model_json_schema()
    properties = {name: _property(part) for name, part in schema.get("properties", {}).items()}
    reduced: dict[str, object] = {"type": "object", "properties": properties}
    if required := schema.get("required"):
        reduced["required"] = required
    return reduced | {"additionalProperties": False}


def validated(model: type[A], tool: str, arguments: Mapping[str, object]) -> A:
    """Return the checked arguments, or raise ToolError with what is allowed."""
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        raise ToolError(_sentence(model, tool, error)) from error


def _property(part: dict[str, object]) -> dict[str, object]:
    branches = part.pop("anyOf", None)
    if isinstance(branches, list):
        part = part | next(branch for branch in branches if branch.get("type") != "null")
    dropped = ("title", "default") if part.get("default") is None else ("title",)
    return {key: value for key, value in part.items() if key not in dropped}


def _sentence(model: type[BaseModel], tool: str, error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_url=False, include_input=False)[:5]:
        # The name may be the model's invention: only a short printable part of it is repeated.
        field = "".join(c for c in str((*problem["loc"], "")[0])[:40] if c.isprintable())
        match problem["type"]:
            case "extra_forbidden":
                problems.append(f"there is no argument {field!r}")
            case "missing":
                problems.append(f"{field!r} is required")
            case _:
                problems.append(f"{field!r}: {problem['msg']}")
    allowed = ", ".join(model.model_fields) or "no arguments"
    return f"{'; '.join(problems)}. {tool} takes: {allowed}."
