"""What this service adds to Pagila: film columns, search index, sign-in, chat.

Nothing here rewrites a row of a restored Pagila.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

from server.database.types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    "app_user",
    "app_user_role",
    "chat_session",
    "login_session",
    "chat_event",
    "chat_turn",
    "refresh_token",
)
"""In the order of their foreign keys."""


def upgrade() -> None:
    """Add columns, indexes and tables."""
    op.add_column(
        "film",
        sa.Column("streaming_available", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column("film", sa.Column("create_time", UtcDateTime(), nullable=True))
    op.add_column(
        "film", sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False)
    )
    op.create_index(
        "idx_film_category_category_id", "film_category", ["category_id", "film_id"], unique=False
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("idx_film_title_bytes", "film", [sa.text('title COLLATE "C"'), "film_id"])
    _create_search_index()
    op.create_table(
        "app_user",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("display_name", sa.String(length=128), server_default="", nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="active", nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("update_time", UtcDateTime(), nullable=False),
        sa.Column("last_login_time", UtcDateTime(), nullable=True),
        sa.Column("password_change_time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("app_user_pkey")),
        sa.UniqueConstraint("email", name=op.f("app_user_email_key")),
    )
    op.create_table(
        "app_user_role",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["app_user.user_id"],
            name=op.f("app_user_role_user_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "role", name=op.f("app_user_role_pkey")),
    )
    op.create_table(
        "chat_session",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), server_default="", nullable=False),
        sa.Column("config", sa.LargeBinary(), nullable=False),
        sa.Column("active_agent", sa.String(length=64), server_default="", nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("update_time", UtcDateTime(), nullable=False),
        sa.Column("end_time", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["app_user.user_id"],
            name=op.f("chat_session_owner_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("chat_session_pkey")),
    )
    op.create_index(
        "idx_chat_session_owner_id", "chat_session", ["owner_id", "create_time"], unique=False
    )
    op.create_table(
        "login_session",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("device_label", sa.String(length=64), server_default="", nullable=False),
        sa.Column("user_agent", sa.String(length=256), server_default="", nullable=False),
        sa.Column("ip_address", sa.String(length=64), server_default="", nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("last_refresh_time", UtcDateTime(), nullable=True),
        sa.Column("expire_time", UtcDateTime(), nullable=False),
        sa.Column("revoke_time", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["app_user.user_id"],
            name=op.f("login_session_user_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("login_session_pkey")),
    )
    op.create_index("idx_login_session_user_id", "login_session", ["user_id"], unique=False)
    op.create_table(
        "chat_event",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["chat_session.session_id"],
            name=op.f("chat_event_session_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", "sequence", name=op.f("chat_event_pkey")),
    )
    op.create_table(
        "chat_turn",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("user_text", sa.Text(), nullable=False),
        sa.Column("answer_text", sa.Text(), server_default="", nullable=False),
        sa.Column("agent", sa.String(length=64), server_default="", nullable=False),
        sa.Column("tool_summary", sa.Text(), server_default="", nullable=False),
        sa.Column("usage", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("end_time", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["chat_session.session_id"],
            name=op.f("chat_turn_session_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", "turn_id", name=op.f("chat_turn_pkey")),
    )
    op.create_index("idx_chat_turn_position", "chat_turn", ["session_id", "position"], unique=True)
    op.create_table(
        "refresh_token",
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("parent_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("use_time", UtcDateTime(), nullable=True),
        sa.Column("expire_time", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["login_session.session_id"],
            name=op.f("refresh_token_session_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("refresh_token_pkey")),
    )
    op.create_index("idx_refresh_token_session_id", "refresh_token", ["session_id"], unique=False)


def _create_search_index() -> None:
    """Create film_fts: the stemmed words of each film's title and description."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE film_fts"
            " USING fts5(title, description, tokenize = 'unicode61 remove_diacritics 0')"
        )
        return
    op.execute(
        "CREATE TABLE film_fts ("
        " film_id integer PRIMARY KEY REFERENCES film ON DELETE CASCADE,"
        " title tsvector NOT NULL, description tsvector NOT NULL)"
    )
    op.execute("CREATE INDEX idx_film_fts_title ON film_fts USING gin (title)")
    op.execute("CREATE INDEX idx_film_fts_description ON film_fts USING gin (description)")


def downgrade() -> None:
    """Drop our tables and columns; films and all of Pagila's rows stay."""
    for table in reversed(TABLES):
        op.drop_table(table)
    op.drop_table("film_fts")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("idx_film_title_bytes", "film")
    op.drop_index("idx_film_category_category_id", "film_category")
    for column in ("revision", "create_time", "streaming_available"):
        op.drop_column("film", column)
