"""Search by categories, names, beginnings and words with a letter wrong.

An older version may go on serving.

Revision: 0006_from_0003, after 0005_from_0003
"""

revision = "0006_from_0003"
down_revision = "0005_from_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""


def downgrade() -> None:
    """Drop them."""
