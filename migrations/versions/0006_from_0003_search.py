"""Search by categories, names, beginnings and words with a letter wrong.

An older version may go on serving, and finds what it found. On PostgreSQL searches go on while
the new index is filled beside the old one.

Revision: 0006_from_0003, after 0005_from_0003
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from server.catalogue.index_words import IndexedFilm, variant_rows
from server.catalogue.search import indexed_terms

revision = "0006_from_0003"
down_revision = "0005_from_0003"
branch_labels = None
depends_on = None

COLUMNS = ("title", "description", "categories", "actors")
BATCH_FILMS = 500
_TABLES = ("film", "film_actor", "film_category", "actor", "category", "language")
_FTS5 = "CREATE VIRTUAL TABLE film_fts USING fts5({}, tokenize = '{}')"
_JOINED = {"sqlite": "group_concat({}, ' ')", "postgresql": "string_agg({}, ' ')"}
_FILMS = """
    SELECT film_id, title, coalesce(description, '') AS description,
        (SELECT {} FROM category AS c JOIN film_category AS l ON l.category_id = c.category_id
         WHERE l.film_id = film.film_id) AS categories,
        (SELECT {} FROM actor AS a JOIN film_actor AS l ON l.actor_id = a.actor_id
         WHERE l.film_id = film.film_id) AS actors
    FROM film WHERE film_id > :after ORDER BY film_id LIMIT :limit
"""

Put = Callable[[Sequence[IndexedFilm]], None]


def upgrade() -> None:
    """Make the index anew, of four texts, and fill it and the table of words."""
    op.create_table(
        "search_variant",
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("word", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("variant", "word", name=op.f("search_variant_pkey")),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.drop_table("film_fts")
        # The program has folded the words; this tokenizer splits them at blanks alone.
        op.execute(_FTS5.format(", ".join(COLUMNS), "ascii"))
        _fill(_add_sqlite)
    else:
        _make_beside()
        _fill(_add_postgresql)
        _take_place()


def _make_beside() -> None:
    columns = ", ".join(f"{name} tsvector NOT NULL DEFAULT ''" for name in COLUMNS)
    op.execute(
        "CREATE TABLE film_fts_next ("
        " film_id integer CONSTRAINT film_fts_next_pkey PRIMARY KEY"
        f" CONSTRAINT film_fts_next_film_id_fkey REFERENCES film ON DELETE CASCADE, {columns},"
        f" words tsvector NOT NULL GENERATED ALWAYS AS ({' || '.join(COLUMNS)}) STORED)"
    )


def _take_place() -> None:
    # A search reads what new entries are not in their place yet, up to this limit in kB. With
    # the usual 4 MB PostgreSQL would rather read the whole table after many changes.
    op.execute(
        f"CREATE INDEX idx_film_fts_next ON film_fts_next USING gin ({', '.join(COLUMNS)}, words)"
        " WITH (gin_pending_list_limit = 64)"
    )
    op.drop_table("film_fts")
    op.execute("ALTER TABLE film_fts_next RENAME TO film_fts")
    for constraint in ("pkey", "film_id_fkey"):
        op.execute(
            f"ALTER TABLE film_fts RENAME CONSTRAINT film_fts_next_{constraint}"
            f" TO film_fts_{constraint}"
        )
    op.execute("ALTER INDEX idx_film_fts_next RENAME TO idx_film_fts")
    # PostgreSQL plans by statistics, which it would gather minutes later by itself.
    op.execute(f"ANALYZE film_fts, search_variant, {', '.join(_TABLES)}")


def _fill(put: Put) -> None:
    known: set[str] = set()
    for films in _batches():
        put(films)
        new = set().union(*(film.words for film in films)) - known
        known |= new
        if rows := variant_rows(new):
            _add_variants(rows)


def _batches() -> Iterator[list[IndexedFilm]]:
    joined = _JOINED[op.get_bind().dialect.name]
    names = "a.first_name || ' ' || a.last_name"
    select = sa.text(_FILMS.format(joined.format("c.name"), joined.format(names)))
    after = -(2**31)
    while rows := op.get_bind().execute(select, {"after": after, "limit": BATCH_FILMS}).all():
        yield [
            IndexedFilm(row.film_id, [(name, getattr(row, name) or "") for name in COLUMNS])
            for row in rows
        ]
        after = rows[-1].film_id


def _add_variants(rows: Sequence[tuple[str, str]]) -> None:
    if op.get_bind().dialect.name == "sqlite":
        table = sa.table("search_variant", sa.column("variant"), sa.column("word"))
        values = [{"variant": variant, "word": word} for variant, word in rows]
        op.get_bind().execute(sa.insert(table), values)
        return
    # One statement: the driver would send one for each of many thousand rows.
    lists = {name: sa.bindparam(name, type_=sa.ARRAY(sa.Text)) for name in ("variants", "words")}
    statement = sa.text(
        "INSERT INTO search_variant (variant, word)"
        " SELECT variant, word FROM unnest(:variants, :words) AS t(variant, word)"
    ).bindparams(*lists.values())
    variants, words = zip(*rows, strict=True)
    op.get_bind().execute(statement, {"variants": list(variants), "words": list(words)})


def _add_sqlite(films: Sequence[IndexedFilm]) -> None:
    statement = (
        f"INSERT INTO film_fts (rowid, {', '.join(COLUMNS)})"  # noqa: S608  # constants
        f" VALUES (:film_id, {', '.join(f':{name}' for name in COLUMNS)})"
    )
    _execute(statement, films)


def _add_postgresql(films: Sequence[IndexedFilm]) -> None:
    vectors = (f"array_to_tsvector(string_to_array(:{name}, ' '))" for name in COLUMNS)
    statement = (
        f"INSERT INTO film_fts_next (film_id, {', '.join(COLUMNS)})"  # noqa: S608  # constants
        f" VALUES (:film_id, {', '.join(vectors)})"
    )
    _execute(statement, films)


def _execute(statement: str, films: Sequence[IndexedFilm]) -> None:
    rows: list[dict[str, Any]] = [{"film_id": film.film_id, **film.columns} for film in films]
    op.get_bind().execute(sa.text(statement), rows)


def downgrade() -> None:
    """Make the index of title and description again, and fill it."""
    op.drop_table("search_variant")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("idx_film_fts", "film_fts")
        for column in ("words", "categories", "actors"):
            op.drop_column("film_fts", column)
        for column in ("title", "description"):
            op.execute(f"ALTER TABLE film_fts ALTER COLUMN {column} DROP DEFAULT")
            op.execute(f"CREATE INDEX idx_film_fts_{column} ON film_fts USING gin ({column})")
        return
    op.drop_table("film_fts")
    op.execute(_FTS5.format("title, description", "unicode61 remove_diacritics 0"))
    add = sa.text("INSERT INTO film_fts (rowid, title, description) VALUES (:film_id, :t, :d)")
    for row in op.get_bind().execute(sa.text("SELECT film_id, title, description FROM film")).all():
        terms = {"t": row.title, "d": row.description or ""}
        words = {name: " ".join(indexed_terms(text)) for name, text in terms.items()}
        op.get_bind().execute(add, {"film_id": row.film_id, **words})
