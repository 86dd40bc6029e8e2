"""A later version of the program: the same migrations, and one more."""

import shutil
from pathlib import Path

from server.database import migrate

_SCRIPT = '''"""Add a column that earlier versions do not know."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it."""
    op.add_column("language", sa.Column("endonym", sa.Text(), nullable=True))
    {then}


def downgrade() -> None:
    """Drop it."""
    op.drop_column("language", "endonym")
'''


def later_migrations(folder: Path, revision: str, *, then: str = "pass") -> Path:
    """Write our migrations and one more, of this revision, into a folder of their own.

    `then` is a line of Python that runs when its change is made, and is not committed yet.
    """
    copy = folder / "migrations"
    shutil.copytree(migrate.MIGRATIONS, copy)
    script = _SCRIPT.format(revision=revision, before=migrate.head_revision(), then=then)
    (copy / "versions" / f"{revision}_later.py").write_text(script, "utf-8")
    return copy
