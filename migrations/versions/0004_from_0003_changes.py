"""Changing films: deletion for a time, revisions, the log of changes, imports, counts of films.

An older version may go on serving: it shows deleted films, and changes none.

Revision: 0004_from_0003, after 0003
"""

import sqlalchemy as sa
from alembic import op

from server.database.types import UtcDateTime

revision = "0004_from_0003"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("film_count", "catalogue_state", "catalogue_change", "film_import")
_COUNT_FILMS = (
    "INSERT INTO film_count (kind, number, films) SELECT 'film', 0, count(*) FROM film",
    (
        "INSERT INTO film_count (kind, number, films)"
        " SELECT 'category', category_id, count(*) FROM film_category GROUP BY category_id"
    ),
    (
        "INSERT INTO film_count (kind, number, films)"
        " SELECT 'actor', actor_id, count(*) FROM film_actor GROUP BY actor_id"
    ),
)


def upgrade() -> None:
    """Add columns and tables, and count the films."""
    op.add_column("film", sa.Column("delete_time", UtcDateTime(), nullable=True))
    op.add_column("film", sa.Column("purge_time", UtcDateTime(), nullable=True))
    op.create_index("idx_film_purge_time", "film", ["purge_time"])
    op.create_table(
        "film_count",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("films", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "number", name=op.f("film_count_pkey")),
    )
    for statement in _COUNT_FILMS:
        op.execute(statement)
    _create_changes()
    _create_imports()


def _create_changes() -> None:
    op.create_table(
        "catalogue_state",
        sa.Column("state_id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("last_film", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_category", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_actor", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("state_id", name=op.f("catalogue_state_pkey")),
    )
    # Films that are there already are of revision 1.
    op.execute("INSERT INTO catalogue_state (state_id, revision) VALUES (1, 1)")
    op.create_table(
        "catalogue_change",
        sa.Column(
            "revision",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("change_type", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("change_time", UtcDateTime(), nullable=False),
        sa.Column("principal", sa.String(length=256), server_default="", nullable=False),
        sa.Column("request_id", sa.String(length=128), server_default="", nullable=False),
        sa.Column("resource", sa.Text(), nullable=True),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("changed_fields", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("catalogue_change_pkey")),
    )
    op.create_index(
        "idx_catalogue_change_resource", "catalogue_change", ["kind", "number", "revision"]
    )
    op.create_index("idx_catalogue_change_time", "catalogue_change", ["change_time"])


def _create_imports() -> None:
    counts = ("committed_batch", "created", "updated", "skipped", "failed")
    op.create_table(
        "film_import",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("conflict_policy", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        *(sa.Column(name, sa.BigInteger(), server_default="0", nullable=False) for name in counts),
        sa.Column("failures", sa.Text(), server_default="[]", nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("update_time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("import_id", name=op.f("film_import_pkey")),
    )
    op.create_index("idx_film_import_update_time", "film_import", ["update_time"])


def downgrade() -> None:
    """Drop them. Films that are deleted are there again; the log of changes is lost."""
    for table in reversed(TABLES):
        op.drop_table(table)
    op.drop_index("idx_film_purge_time", "film")
    for column in ("purge_time", "delete_time"):
        op.drop_column("film", column)
