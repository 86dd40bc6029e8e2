"""What a search asks the databases: the words' points, from the index of words.

Both databases count alike, in integers. For each word a film has the points of the best place in
which it has the word, and their sum over the words. What is looked at is bounded: of each word, in
each column, as a whole and as a beginning, MAX_CANDIDATES films, and as many that have all of the
words. Below that the ranking is exact.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ARRAY, Integer, Text, bindparam, column, text
from sqlalchemy.sql.expression import TextualSelect

from server.catalogue.search import MARK
from server.catalogue.snippets import Sought
from server.database.names import named
from server.database.types import TextList

MAX_CANDIDATES: Final = 5_000
MAX_TOGETHER: Final = 8
"""Films that have all of the words are looked for when these are so many at most."""
MOST_POINTS: Final = 12
"""What a whole word in the title counts: the most that one word can."""

_WHOLE: Final = (MOST_POINTS, 10, 8)
_BEGINNING: Final = (9, 7, 5)
_MISTYPED: Final = (6, 4, 3)
"""Points of a word in the title, in a category or an actor's name, and in the description."""

_SQLITE_COLUMNS: Final = ("{title}", "{categories actors}", "{description}")

# JSON carries what each match finds, since SQLite has no LATERAL to limit them one by one. Films
# with all of the words are looked for only where a list of candidates can have been cut.
_SQLITE_HITS: Final = """
    WITH asked AS MATERIALIZED (
        SELECT json_extract(value, '$[0]') AS word, json_extract(value, '$[1]') AS match,
               json_extract(value, '$[2]') AS points
        FROM json_each(:asked)
        WHERE NOT json_extract(value, '$[3]') OR (SELECT max(film_id) FROM film) > :candidates
    )
    SELECT h.value AS film_id, a.word, max(a.points) AS points
    FROM asked AS a CROSS JOIN json_each((
        SELECT json_group_array(found.rowid) FROM (
            SELECT rowid FROM film_fts WHERE film_fts MATCH a.match ORDER BY rowid
            LIMIT :candidates
        ) AS found
    )) AS h
    GROUP BY h.value, a.word
"""
# The LIMITs are within LATERAL on purpose: the plan is then made without looking at the words,
# and reads the index for the rare and for the common ones.
_NEAR: Final = """
        SELECT near.film_id, a.word, a.{points} AS points FROM asked AS a CROSS JOIN LATERAL (
            SELECT f.film_id FROM film_fts AS f WHERE f.{column} @@ a.query LIMIT :candidates
        ) AS near
"""
_WITH_ALL: Final = """
        SELECT f.film_id, a.word,
            CASE WHEN f.title @@ a.query THEN a.title
                 WHEN f.categories @@ a.query OR f.actors @@ a.query THEN a.names
                 ELSE a.description END
        FROM unnest(:every) AS e(query) CROSS JOIN LATERAL (
            SELECT * FROM film_fts AS i WHERE i.words @@ CAST(e.query AS tsquery)
            LIMIT :candidates
        ) AS f CROSS JOIN asked AS a WHERE f.words @@ a.query
"""
_POSTGRESQL_COLUMNS: Final = (
    ("title", "title"),
    ("categories", "names"),
    ("actors", "names"),
    ("description", "description"),
)
_POSTGRESQL_HITS: Final = f"""
    WITH asked AS MATERIALIZED (
        SELECT t.word, CAST(t.query AS tsquery) AS query, t.title, t.names, t.description
        FROM unnest(:words, :queries, :titles, :names, :descriptions)
            AS t(word, query, title, names, description)
    )
    SELECT found.film_id, found.word, max(found.points) AS points FROM (
        {" UNION ALL ".join(_NEAR.format(column=c, points=p) for c, p in _POSTGRESQL_COLUMNS)}
        UNION ALL {_WITH_ALL}
    ) AS found
    GROUP BY found.film_id, found.word
"""  # noqa: S608  # joined of constants
_SQLITE_WORDS: Final = """
    SELECT json_extract(a.value, '$[0]') AS word FROM json_each(:asked) AS a
    WHERE EXISTS (
        SELECT 1 FROM film_fts WHERE film_fts MATCH json_extract(a.value, '$[1]')
    )
"""
# Counted, not EXISTS: for one row PostgreSQL would rather read the table from its start.
_POSTGRESQL_WORDS: Final = """
    SELECT t.word FROM unnest(:words, :queries) AS t(word, query) CROSS JOIN LATERAL (
        SELECT count(*) AS films FROM (
            SELECT 1 FROM film_fts AS f WHERE f.words @@ CAST(t.query AS tsquery) LIMIT :candidates
        ) AS first
    ) AS found
    WHERE found.films > 0
"""
_SQLITE_SIMILAR: Final = """
    SELECT DISTINCT v.word FROM json_each(:variants) AS t
    CROSS JOIN search_variant AS v WHERE v.variant = t.value
"""
_POSTGRESQL_SIMILAR: Final = """
    SELECT DISTINCT v.word FROM search_variant AS v WHERE v.variant = ANY (:variants)
"""

_TEXTS: Final = ARRAY(Text)
_INTEGERS: Final = ARRAY(Integer)
_JSON: Final = {"asked": TextList}
_ARRAYS: Final = {
    "words": _INTEGERS,
    "queries": _TEXTS,
    "titles": _INTEGERS,
    "names": _INTEGERS,
    "descriptions": _INTEGERS,
    "every": _TEXTS,
}


class SearchStatements:
    """The statements of one database, and their parameters."""

    def __init__(self, *, is_sqlite: bool) -> None:
        self._is_sqlite = is_sqlite
        self.hits = _hits(is_sqlite=is_sqlite)
        self.words_found = named(
            "search_words.found",
            _typed(_SQLITE_WORDS, _JSON)
            if is_sqlite
            else _typed(_POSTGRESQL_WORDS, {key: _ARRAYS[key] for key in ("words", "queries")}),
        )
        self.similar = named(
            "search_words.similar",
            text(_SQLITE_SIMILAR if is_sqlite else _POSTGRESQL_SIMILAR).bindparams(
                bindparam("variants", type_=TextList)
            ),
        )

    def of_hits(self, sought: Sequence[Sought]) -> dict[str, Any]:
        """Return the parameters of `hits`."""
        if self._is_sqlite:
            return {"asked": list(_matches(sought)), "candidates": MAX_CANDIDATES}
        asked = [
            (place, query, *points)
            for place, each in enumerate(sought)
            for query, points in (
                (_tsquery(each.terms, ""), _MISTYPED if each.meant else _WHOLE),
                (_tsquery((), each.beginning), _BEGINNING),
            )
            if query
        ]
        parameters: dict[str, Any] = {
            name: list(values)
            for name, values in zip(_ARRAYS, zip(*asked, strict=True), strict=False)
        }
        every = " & ".join(f"({_tsquery(each.terms, each.beginning)})" for each in sought)
        parameters["every"] = [every] if 1 < len(sought) <= MAX_TOGETHER else []
        return {**parameters, "candidates": MAX_CANDIDATES}

    def of_words(self, sought: Sequence[Sought]) -> dict[str, Any]:
        """Return the parameters of `words_found`."""
        if self._is_sqlite:
            asked = [[n, _fts(each.terms, each.beginning)] for n, each in enumerate(sought)]
            return {"asked": asked}
        return {
            "words": list(range(len(sought))),
            "queries": [_tsquery(each.terms, each.beginning) for each in sought],
            "candidates": MAX_CANDIDATES,
        }


def _hits(*, is_sqlite: bool) -> TextualSelect:
    typed = _typed(_SQLITE_HITS, _JSON) if is_sqlite else _typed(_POSTGRESQL_HITS, _ARRAYS)
    hits: TextualSelect = typed.columns(
        column("film_id", Integer), column("word", Integer), column("points", Integer)
    )
    return hits


def _typed(sql: str, types: Mapping[str, Any]) -> Any:
    return text(sql).bindparams(*(bindparam(name, type_=kind) for name, kind in types.items()))


def _matches(sought: Sequence[Sought]) -> Sequence[tuple[int, str, int, bool]]:
    """Return what SQLite is asked.

    The word's place, a match, the points of what it finds, whether that has all of the words.
    """
    every = " AND ".join(f"({_fts(each.terms, each.beginning)})" for each in sought)
    asked: list[tuple[int, str, int, bool]] = []
    for place, each in enumerate(sought):
        kinds = [(_fts(each.terms, ""), _MISTYPED if each.meant else _WHOLE)]
        if each.beginning:
            kinds.append((_fts((), each.beginning), _BEGINNING))
        for words, points in kinds:
            for columns, count in zip(_SQLITE_COLUMNS, points, strict=True):
                match = f"({columns} : ({words}))"
                asked.append((place, match, count, False))
                if 1 < len(sought) <= MAX_TOGETHER:
                    asked.append((place, f"{match} AND {every}", count, True))
    return asked


# Words are letters and digits alone, so nothing in them can end the quotes.


def _fts(terms: Sequence[str], beginning: str) -> str:
    parts = [f'"{term}"' for term in terms]
    return " OR ".join([*parts, f'"{MARK}{beginning}" *'] if beginning else parts)


def _tsquery(terms: Sequence[str], beginning: str) -> str:
    parts = [f"'{term}'" for term in terms]
    return " | ".join([*parts, f"'{MARK}{beginning}':*"] if beginning else parts)
