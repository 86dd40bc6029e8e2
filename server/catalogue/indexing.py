"""Fill the search index: the words of each film's title and description.

The words are made here and not by the database, so that both databases find the same films
for the same query.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import ARRAY, Executable, Row, Text, bindparam, select, text

from server.catalogue.models import Film
from server.catalogue.search import index_terms
from server.database.engine import WriteSession

BATCH_FILMS = 500
MAX_TEXT_CHARACTERS = 50_000
"""Of a longer text the rest is not found: PostgreSQL's tsvector holds 1 MiB."""
MAX_TERM_BYTES = 2046
"""A longer word is not found: PostgreSQL's tsvector takes no longer one."""

_COLUMNS = (Film.film_id, Film.title, Film.description)
_NEXT_FILMS = (
    select(*_COLUMNS)
    .where(Film.film_id > bindparam("after"))
    .order_by(Film.film_id)
    .limit(BATCH_FILMS)
)
_GIVEN_FILMS = select(*_COLUMNS).where(Film.film_id.in_(bindparam("film_ids", expanding=True)))
_CLEAR = text("DELETE FROM film_fts")
_ANALYZE = text("ANALYZE film, film_fts, film_actor, film_category, actor, category, language")
_REMOVE = text("DELETE FROM film_fts WHERE rowid = :film_id")
_ADD = text(
    "INSERT INTO film_fts (rowid, title, description) VALUES (:film_id, :title, :description)"
)
_PUT = text(
    "INSERT INTO film_fts (film_id, title, description)"
    " VALUES (:film_id, array_to_tsvector(:title), array_to_tsvector(:description))"
    " ON CONFLICT (film_id)"
    " DO UPDATE SET title = excluded.title, description = excluded.description"
).bindparams(bindparam("title", type_=ARRAY(Text)), bindparam("description", type_=ARRAY(Text)))


async def reindex(
    write: WriteSession, *, is_sqlite: bool, film_ids: Sequence[int] | None = None
) -> int:
    """Index these films anew, or every film; return how many were indexed.

    A film that does not exist is passed over.
    """
    if film_ids is None:
        await write.execute(_CLEAR)
    count = 0
    async for films in _batches(write, film_ids):
        rows = await asyncio.to_thread(_index_rows, films, is_sqlite=is_sqlite)
        if is_sqlite:
            await write.execute(_REMOVE, [{"film_id": row["film_id"]} for row in rows])
        await write.execute(_ADD if is_sqlite else _PUT, rows)
        count += len(rows)
    if count >= BATCH_FILMS and not is_sqlite:
        # PostgreSQL plans by statistics that it gathers minutes later: until then a page of
        # films, all of them new, takes eight times as long.
        await write.execute(_ANALYZE)
    return count


async def _batches(
    write: WriteSession, film_ids: Sequence[int] | None
) -> AsyncIterator[Sequence[Row[Any]]]:
    if film_ids is None:
        after = -(2**31)  # an integer column's least value
        while films := await _films(write, _NEXT_FILMS, after=after):
            yield films
            after = films[-1].film_id
        return
    for start in range(0, len(film_ids), BATCH_FILMS):
        chosen = film_ids[start : start + BATCH_FILMS]
        if films := await _films(write, _GIVEN_FILMS, film_ids=chosen):
            yield films


async def _films(
    write: WriteSession, statement: Executable, **parameters: Any
) -> Sequence[Row[Any]]:
    return await write.all(statement, parameters)


def _index_rows(films: Sequence[Row[Any]], *, is_sqlite: bool) -> list[dict[str, Any]]:
    def words(content: str | None) -> Any:
        terms = _terms(content or "")
        return " ".join(terms) if is_sqlite else terms

    return [
        {
            "film_id": film.film_id,
            "title": words(film.title),
            "description": words(film.description),
        }
        for film in films
    ]


def _terms(content: str) -> list[str]:
    terms = index_terms(content[:MAX_TEXT_CHARACTERS])
    return [term for term in terms if len(term.encode()) <= MAX_TERM_BYTES]
