"""Fill the search index: the words of each film's title, description, categories and actors.

The words are made here and not by the database, so that both databases find the same films
for the same query.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import ARRAY, Integer, Row, Select, Text, bindparam, func, select, text

from server.catalogue.index_words import IndexedFilm, variant_rows
from server.catalogue.models import Actor, Category, Film, FilmActor, FilmCategory
from server.catalogue.typos import may_be_meant
from server.database.dialect import in_list, json_rows
from server.database.engine import WriteSession
from server.database.names import named
from server.database.types import IntegerList, TextList

BATCH_FILMS: Final = 500

_COLUMNS: Final = ("title", "description", "categories", "actors")


def _texts() -> Select[Any]:
    of_category, of_actor = FilmCategory.__table__.c, FilmActor.__table__.c
    categories = (
        select(json_rows(Category.name))
        .join(FilmCategory.__table__, of_category.category_id == Category.category_id)
        .where(of_category.film_id == Film.film_id)
    )
    actors = (
        select(json_rows(Actor.first_name, Actor.last_name))
        .join(FilmActor.__table__, of_actor.actor_id == Actor.actor_id)
        .where(of_actor.film_id == Film.film_id)
    )
    return select(
        Film.film_id,
        Film.title,
        func.coalesce(Film.description, "").label("description"),
        categories.scalar_subquery().label("categories"),
        actors.scalar_subquery().label("actors"),
    )


_NEXT_FILMS = named(
    "film_index.next",
    _texts().where(Film.film_id > bindparam("after")).order_by(Film.film_id).limit(BATCH_FILMS),
)
_GIVEN_FILMS = named(
    "film_index.films",
    _texts().where(in_list(Film.__table__.c.film_id, bindparam("film_ids", type_=IntegerList))),
)
_CLEAR = text("DELETE FROM film_fts")
_CLEAR_VARIANTS = text("DELETE FROM search_variant")
_ANALYZE = text(
    "ANALYZE film, film_fts, film_actor, film_category, actor, category, language, search_variant"
)
# Films that are gone lose their words as well.
_REMOVE = named(
    "film_index.remove",
    text("DELETE FROM film_fts WHERE rowid IN (SELECT value FROM json_each(:film_ids))").bindparams(
        bindparam("film_ids", type_=IntegerList)
    ),
)
_ADD = named(
    "film_index.add",
    text(
        "INSERT INTO film_fts (rowid, title, description, categories, actors)"
        " VALUES (:film_id, :title, :description, :categories, :actors)"
    ),
)
_PUT = named(
    "film_index.put",
    text(
        "INSERT INTO film_fts (film_id, title, description, categories, actors)"
        " SELECT film_id, array_to_tsvector(string_to_array(title, ' ')),"
        " array_to_tsvector(string_to_array(description, ' ')),"
        " array_to_tsvector(string_to_array(categories, ' ')),"
        " array_to_tsvector(string_to_array(actors, ' '))"
        " FROM unnest(:film_ids, :title, :description, :categories, :actors)"
        " AS t(film_id, title, description, categories, actors)"
        " ON CONFLICT (film_id) DO UPDATE SET title = excluded.title,"
        " description = excluded.description, categories = excluded.categories,"
        " actors = excluded.actors"
    ).bindparams(
        bindparam("film_ids", type_=ARRAY(Integer)),
        *(bindparam(column, type_=ARRAY(Text)) for column in _COLUMNS),
    ),
)
_NEW_WORDS: Final = {
    True: "SELECT t.value AS word FROM json_each(:words) AS t WHERE NOT EXISTS"
    " (SELECT 1 FROM search_variant AS v WHERE v.variant = t.value AND v.word = t.value)",
    False: "SELECT t.value AS word FROM unnest(:words) AS t(value) WHERE NOT EXISTS"
    " (SELECT 1 FROM search_variant AS v WHERE v.variant = t.value AND v.word = t.value)",
}
_ADD_VARIANTS: Final = {
    True: "INSERT INTO search_variant (variant, word)"
    " SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:rows)"
    " WHERE true ON CONFLICT DO NOTHING",
    False: "INSERT INTO search_variant (variant, word)"
    " SELECT t.variant, t.word FROM unnest(:variants, :words) AS t(variant, word)"
    " ON CONFLICT DO NOTHING",
}
"""By whether the database is SQLite."""


async def reindex(
    write: WriteSession, *, is_sqlite: bool, film_ids: Sequence[int] | None = None
) -> int:
    """Index these films anew, or every film; return how many were indexed.

    Deleted films are indexed too, and left out by searches. A film that is not there any more
    loses its words. Call it again when a category or an actor of a film has got another name.
    """
    if film_ids is None:
        await write.execute(_CLEAR)
        await write.execute(_CLEAR_VARIANTS)
    index = _Index(write, is_sqlite=is_sqlite)
    count = 0
    async for films in index.batches(film_ids):
        count += await index.put(films)
    if not is_sqlite and count >= BATCH_FILMS and (film_ids is None or count > BATCH_FILMS):
        # PostgreSQL plans by statistics that it gathers minutes later: until then a page of
        # films, all of them new, takes eight times as long. A batch of many is not worth it.
        await write.execute(_ANALYZE)
    return count


class _Index:
    """The index of one database, within one transaction."""

    def __init__(self, write: WriteSession, *, is_sqlite: bool) -> None:
        self._write, self._is_sqlite = write, is_sqlite
        self._known: set[str] = set()
        self._new_words = named(
            "search_words.new",
            text(_NEW_WORDS[is_sqlite]).bindparams(bindparam("words", type_=TextList)),
        )
        self._add_variants = named(
            "search_words.add",
            text(_ADD_VARIANTS[is_sqlite]).bindparams(
                *(bindparam(name, type_=TextList) for name in self._variants_parameters([]))
            ),
        )

    async def batches(self, film_ids: Sequence[int] | None) -> AsyncIterator[Sequence[Row[Any]]]:
        """Yield the films in batches; of given ones, what the index has is removed."""
        if film_ids is None:
            after = -(2**31)  # an integer column's least value
            while films := await self._write.all(_NEXT_FILMS, {"after": after}):
                yield films
                after = films[-1].film_id
            return
        for start in range(0, len(film_ids), BATCH_FILMS):
            chosen = list(film_ids[start : start + BATCH_FILMS])
            if self._is_sqlite:
                await self._write.execute(_REMOVE, {"film_ids": chosen})
            if films := await self._write.all(_GIVEN_FILMS, {"film_ids": chosen}):
                yield films

    async def put(self, films: Sequence[Row[Any]]) -> int:
        """Index films whose words the index has not, or not any more; return their number."""
        # Stemming takes the processor for a while: elsewhere, so that calls are answered meanwhile.
        indexed = await asyncio.to_thread(lambda: [_indexed(film) for film in films])
        if self._is_sqlite:
            rows = [{"film_id": film.film_id, **film.columns} for film in indexed]
            await self._write.execute(_ADD, rows)
        else:
            columns = {name: [film.columns[name] for film in indexed] for name in _COLUMNS}
            film_ids = [film.film_id for film in indexed]
            await self._write.execute(_PUT, {"film_ids": film_ids, **columns})
        await self._add_words(set().union(*(film.words for film in indexed)))
        return len(indexed)

    async def _add_words(self, words: set[str]) -> None:
        asked = sorted(word for word in words - self._known if may_be_meant(word))
        self._known |= words
        if not asked:
            return
        new = [row.word for row in await self._write.all(self._new_words, {"words": asked})]
        if new:
            rows = await asyncio.to_thread(variant_rows, new)
            await self._write.execute(self._add_variants, self._variants_parameters(rows))

    def _variants_parameters(self, rows: Sequence[tuple[str, str]]) -> dict[str, Any]:
        if self._is_sqlite:
            return {"rows": [list(row) for row in rows]}
        return {"variants": [row[0] for row in rows], "words": [row[1] for row in rows]}


def _indexed(film: Row[Any]) -> IndexedFilm:
    return IndexedFilm(
        film.film_id,
        (
            ("title", film.title),
            ("description", film.description),
            ("categories", _joined(film.categories)),
            ("actors", _joined(film.actors)),
        ),
    )


def _joined(json: str | None) -> str:
    """Return the words of a JSON array of arrays of texts."""
    rows: list[list[str]] = orjson.loads(json) if json else []
    return " ".join(" ".join(row) for row in rows)
