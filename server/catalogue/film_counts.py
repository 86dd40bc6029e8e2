"""How many films categories and actors have, kept beside them: counting would take too long.

Rows are changed after revisions were claimed, by one transaction at a time.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from sqlalchemy import Integer, bindparam, text

from server.catalogue.domain import Film
from server.database.engine import WriteSession
from server.database.names import named

_NOTE: Final = named(
    "film_counts.note",
    text(
        "INSERT INTO film_count (kind, number, films) VALUES (:kind, :number, :films)"
        " ON CONFLICT (kind, number) DO UPDATE SET films = film_count.films + excluded.films"
    ).bindparams(bindparam("number", type_=Integer), bindparam("films", type_=Integer)),
)
_RECOUNT: Final = (
    text("DELETE FROM film_count"),
    text(
        "INSERT INTO film_count (kind, number, films)"
        " SELECT 'film', 0, count(*) FROM film WHERE delete_time IS NULL"
    ),
    text(
        "INSERT INTO film_count (kind, number, films)"
        " SELECT 'category', category_id, count(*) FROM film_category"
        " JOIN film ON film.film_id = film_category.film_id WHERE delete_time IS NULL"
        " GROUP BY category_id"
    ),
    text(
        "INSERT INTO film_count (kind, number, films)"
        " SELECT 'actor', actor_id, count(*) FROM film_actor"
        " JOIN film ON film.film_id = film_actor.film_id WHERE delete_time IS NULL"
        " GROUP BY actor_id"
    ),
)

Key = tuple[str, int]


async def note_films(write: WriteSession, pairs: Iterable[tuple[Film | None, Film | None]]) -> None:
    """Note what changes of films, from before to after, make of the counts."""
    counts: Counter[Key] = Counter()
    for before, after in pairs:
        counts.subtract(_counted(before))
        counts.update(_counted(after))
    rows = [
        {"kind": kind, "number": number, "films": films}
        for (kind, number), films in sorted(counts.items())
        if films
    ]
    if rows:
        await write.execute(_NOTE, rows)


async def recount(write: WriteSession) -> None:
    """Count anew, after films were stored past this service's calls."""
    for statement in _RECOUNT:
        await write.execute(statement)


def _counted(film: Film | None) -> list[Key]:
    if film is None or film.delete_time is not None:
        return []
    return [
        ("film", 0),
        *(("category", label.number) for label in film.categories),
        *(("actor", label.number) for label in film.actors),
    ]
