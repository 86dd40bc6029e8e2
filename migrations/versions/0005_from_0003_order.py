"""Indexes that lists of films are read by, in each order and from any place.

An older version may go on serving.

Revision: 0005_from_0003, after 0004_from_0003
"""

revision = "0005_from_0003"
down_revision = "0004_from_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""


def downgrade() -> None:
    """Drop them."""
