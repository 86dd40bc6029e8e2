"""Sign-in in full: users with state and revision, API keys, attempts, audit trail, repeated calls.

An older version cannot serve this: it does not read the password hashes that this one writes.

Revision: 0003, after 0002
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from server.database.types import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

USER_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("chosen_id", sa.String(length=63)),
    ("customer_id", sa.Integer()),
    ("staff_id", sa.Integer()),
    ("roles_change_time", UtcDateTime()),
    ("delete_time", UtcDateTime()),
    ("purge_time", UtcDateTime()),
)
INDEXES = (
    ("app_user", "roles_change_time"),
    ("app_user", "purge_time"),
    ("login_session", "revoke_time"),
    ("login_session", "expire_time"),
    ("refresh_token", "expire_time"),
    ("refresh_token", "parent_hash"),
)
TABLES = ("api_key", "login_attempts", "audit_event", "idempotent_call")
IMMUTABLE = "the audit trail is append-only"


def upgrade() -> None:
    """Add columns, indexes and tables."""
    for name, kind in USER_COLUMNS:
        op.add_column("app_user", sa.Column(name, kind, nullable=True))
    op.add_column(
        "app_user", sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False)
    )
    op.add_column(
        "login_session", sa.Column("scopes", sa.Text(), server_default="", nullable=False)
    )
    op.add_column("refresh_token", sa.Column("use_request_id", sa.Uuid(), nullable=True))
    for table, column_name in INDEXES:
        op.create_index(f"idx_{table}_{column_name}", table, [column_name])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("idx_app_user_email_bytes", "app_user", [sa.text('email COLLATE "C"')])
    _create_api_key()
    _create_audit_event()
    op.create_table(
        "login_attempts",
        sa.Column("subject", sa.LargeBinary(length=32), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_time", UtcDateTime(), nullable=False),
        sa.Column("expire_time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("login_attempts_pkey")),
    )
    op.create_index("idx_login_attempts_expire_time", "login_attempts", ["expire_time"])
    op.create_table(
        "idempotent_call",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("method", sa.String(length=128), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint(
            "user_id", "method", "request_id", name=op.f("idempotent_call_pkey")
        ),
    )
    op.create_index("idx_idempotent_call_create_time", "idempotent_call", ["create_time"])


def _create_api_key() -> None:
    op.create_table(
        "api_key",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("display_name", sa.String(length=128), nullable=False),
        sa.Column("scopes", sa.Text(), server_default="", nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hint", sa.String(length=16), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("expire_time", UtcDateTime(), nullable=True),
        sa.Column("last_use_time", UtcDateTime(), nullable=True),
        sa.Column("delete_time", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["app_user.user_id"],
            name=op.f("api_key_user_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("api_key_pkey")),
        sa.UniqueConstraint("secret_hash", name=op.f("api_key_secret_hash_key")),
    )
    op.create_index("idx_api_key_user_id", "api_key", ["user_id", "create_time"])
    op.create_index("idx_api_key_delete_time", "api_key", ["delete_time"])


def _create_audit_event() -> None:
    op.create_table(
        "audit_event",
        sa.Column(
            "event_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("event_time", UtcDateTime(), nullable=False),
        sa.Column("method", sa.String(length=128), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("principal", sa.String(length=128), server_default="", nullable=False),
        sa.Column("credential", sa.String(length=128), server_default="", nullable=False),
        sa.Column("target", sa.String(length=256), server_default="", nullable=False),
        sa.Column("peer_address", sa.String(length=64), server_default="", nullable=False),
        sa.Column("user_agent", sa.String(length=256), server_default="", nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("request", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("audit_event_pkey")),
    )
    op.create_index("idx_audit_event_event_time", "audit_event", ["event_time"])
    op.create_index("idx_audit_event_principal", "audit_event", ["principal", "event_id"])
    op.create_index("idx_audit_event_target", "audit_event", ["target", "event_id"])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_event_no_{verb.lower()} BEFORE {verb} ON audit_event"
                f" BEGIN SELECT RAISE(ABORT, '{IMMUTABLE}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_event_immutable() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{IMMUTABLE}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_event_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_event_immutable()"
    )


def downgrade() -> None:
    """Drop what was added. Users whose password was hashed anew need a new one."""
    for table in TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_event_immutable()")
        op.drop_index("idx_app_user_email_bytes", "app_user")
    for table, column_name in INDEXES:
        op.drop_index(f"idx_{table}_{column_name}", table)
    op.drop_column("refresh_token", "use_request_id")
    op.drop_column("login_session", "scopes")
    op.drop_column("app_user", "revision")
    for name, _ in USER_COLUMNS:
        op.drop_column("app_user", name)
