"""What lists and details show of films, categories and actors."""

from rich.text import Text

from interview_client.messages import Actor, Category, Film, FilmMatch, FilmRating, Money

from . import filters
from .failures import one_line
from .output import Column
from .sessions import moment

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


FILM: tuple[Column[Film], ...] = (
    Column("film", lambda film: film.name),
    Column("title", lambda film: film.title),
    Column("year", _year),
    Column("rating", _rating_text),
    Column("length", _minutes),
    Column("categories", _categories),
)
FILM_DETAILS: tuple[Column[Film], ...] = (
    *FILM,
    Column("actors", lambda film: ", ".join(film.labels.actors) if film.labels else ""),
    Column("language", lambda film: film.labels.language if film.labels else ""),
    Column("original language", lambda f: f.labels.original_language if f.labels else ""),
    Column("description", lambda film: film.description),
    Column("rental", lambda film: _money(film.rental_rate)),
    Column("replacement", lambda film: _money(film.replacement_cost)),
    Column("streaming", lambda film: "yes" if film.streaming_available else ""),
    Column("deleted", lambda film: moment(film.delete_time)),
    Column("gone for good", lambda film: moment(film.purge_time)),
    Column("etag", lambda film: film.etag),
)
CATEGORY: tuple[Column[Category], ...] = (
    Column("category", lambda category: category.name),
    Column("called", lambda category: category.display_name),
    Column("films", lambda category: str(category.film_count)),
)
ACTOR: tuple[Column[Actor], ...] = (
    Column("actor", lambda actor: actor.name),
    Column("called", lambda actor: f"{actor.given_name} {actor.family_name}"),
    Column("films", lambda actor: str(actor.film_count)),
)


def _of_match(column: Column[Film]) -> Column[FilmMatch]:
    return Column(column.header, lambda match: column.value(match.film) if match.film else "")


def _found(match: FilmMatch) -> str:
    # The title is shown anyway.
    return "" if match.snippet_field == "title" else match.snippet


def _found_bold(match: FilmMatch) -> Text:
    """Return what was found with the words in bold, as ranges of bytes tell where they are."""
    if not _found(match):
        return Text("")
    raw, text, end = match.snippet.encode(), Text(), 0
    for part in match.highlights:
        text.append(_part(raw, end, part.start_byte))
        text.append(_part(raw, part.start_byte, part.end_byte), style="bold")
        end = part.end_byte
    return text.append(_part(raw, end, len(raw)))


def _part(raw: bytes, start: int, end: int) -> str:
    part = raw[start:end].decode(errors="replace")
    # Spaces at its ends part it from its neighbours.
    lead = " " if part[:1].isspace() else ""
    tail = " " if part[-1:].isspace() and part.strip() else ""
    return f"{lead}{one_line(part)}{tail}"


MATCH: tuple[Column[FilmMatch], ...] = (
    *(_of_match(column) for column in FILM),
    Column("found", _found, _found_bold),
)
