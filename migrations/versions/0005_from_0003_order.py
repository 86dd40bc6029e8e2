"""Indexes that lists of films are read by, in each order and from any place.

Each holds what server.catalogue.film_order sorts by, letter by letter: an expression that no
film is without, and then the number. Titles have their indexes already: idx_title on SQLite,
idx_film_title_bytes on PostgreSQL.

An older version may go on serving.

Revision: 0005_from_0003, after 0004_from_0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0005_from_0003"
down_revision = "0004_from_0003"
branch_labels = None
depends_on = None

COLUMNS = {
    "rental_duration_days": "rental_duration",
    "rental_rate": "rental_rate",
    "replacement_cost": "replacement_cost",
    "update_time": "last_update",
}
EXPRESSIONS = {
    "release_year": "coalesce(release_year, 9999)",
    "length_minutes": "coalesce(length, 32768)",
    "rating": (
        "(CASE WHEN rating = 'G' THEN 0 WHEN rating = 'PG' THEN 1 WHEN rating = 'PG-13' THEN 2"
        " WHEN rating = 'R' THEN 3 WHEN rating = 'NC-17' THEN 4 ELSE 5 END)"
    ),
    "create_time": "coalesce(create_time, last_update)",
}
NEVER = {"sqlite": "9999-12-31 00:00:00.000000", "postgresql": "9999-12-31 00:00:00+00"}
"""Stands for a time of deletion that there is none of."""
# Moments that SQLite itself put in have no microseconds, and would come before equal ones.
WHOLE_SECONDS = (
    "UPDATE film SET last_update = last_update || '.000000' WHERE length(last_update) = 19"
)


def upgrade() -> None:
    """Add them."""
    dialect = op.get_bind().dialect.name
    if dialect == "sqlite":
        op.execute(WHOLE_SECONDS)
    for field, column in COLUMNS.items():
        op.create_index(_name(field), "film", [column, "film_id"])
    deleted = {"delete_time": f"coalesce(delete_time, '{NEVER[dialect]}')"}
    for field, expression in (EXPRESSIONS | deleted).items():
        op.create_index(_name(field), "film", [sa.text(expression), "film_id"])
    # What PostgreSQL knows of an expression it learns from the index, once asked to.
    if dialect == "postgresql":
        op.execute("ANALYZE film")


def downgrade() -> None:
    """Drop them."""
    for field in (*COLUMNS, *EXPRESSIONS, "delete_time"):
        op.drop_index(_name(field), "film")


def _name(field: str) -> str:
    return f"idx_film_order_{field}"
