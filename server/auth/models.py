"""Tables of sign-in."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from server.database.base import Base
from server.database.types import UtcDateTime


class AppUser(Base):
    """A person or a service that signs in. `email` is kept case-folded.

    `chosen_id` is the id that was chosen at creation; `user_id` is then made from it. Tokens of
    before `roles_change_time` count no more: whoever changes the user's roles, or its `state` (to
    suspend, delete or bring back), sets it to the moment of the change in the same UPDATE; that is
    how every process learns of it, and what is not set there is not known elsewhere. `revision`
    counts changes.
    """

    __tablename__ = "app_user"
    __table_args__ = (
        Index("idx_app_user_roles_change_time", "roles_change_time"),
        Index("idx_app_user_purge_time", "purge_time"),
        # Lists are ordered by bytes on both databases, whatever the database's locale.
        Index("idx_app_user_email_bytes", text('email COLLATE "C"')).ddl_if(dialect="postgresql"),
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    display_name: Mapped[str] = mapped_column(String(128), server_default="")
    password_hash: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), server_default="active")
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    last_login_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    password_change_time: Mapped[datetime] = mapped_column(UtcDateTime)
    chosen_id: Mapped[str | None] = mapped_column(String(63))
    customer_id: Mapped[int | None]
    staff_id: Mapped[int | None]
    roles_change_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    delete_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    purge_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revision: Mapped[int] = mapped_column(BigInteger, server_default="1")


class AppUserRole(Base):
    """A role that a user has."""

    __tablename__ = "app_user_role"

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("app_user.user_id", ondelete="CASCADE"), primary_key=True
    )
    role: Mapped[str] = mapped_column(String(32), primary_key=True)


class LoginSession(Base):
    """One sign-in on one device; every refresh token of it is of one family."""

    __tablename__ = "login_session"
    __table_args__ = (
        Index("idx_login_session_user_id", "user_id"),
        Index("idx_login_session_revoke_time", "revoke_time"),
        Index("idx_login_session_expire_time", "expire_time"),
    )

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app_user.user_id", ondelete="CASCADE"))
    device_label: Mapped[str] = mapped_column(String(64), server_default="")
    user_agent: Mapped[str] = mapped_column(String(256), server_default="")
    ip_address: Mapped[str] = mapped_column(String(64), server_default="")
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    last_refresh_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expire_time: Mapped[datetime] = mapped_column(UtcDateTime)
    revoke_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    scopes: Mapped[str] = mapped_column(Text, server_default="")


class RefreshToken(Base):
    """A refresh token by its SHA-256. `use_time` is set once, by whoever rotates it.

    `use_request_id` is the request_id of that call: who sends it again asks for its answer.
    """

    __tablename__ = "refresh_token"
    __table_args__ = (
        Index("idx_refresh_token_session_id", "session_id"),
        Index("idx_refresh_token_parent_hash", "parent_hash"),
        Index("idx_refresh_token_expire_time", "expire_time"),
    )

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(
        ForeignKey("login_session.session_id", ondelete="CASCADE")
    )
    parent_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    use_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expire_time: Mapped[datetime] = mapped_column(UtcDateTime)
    use_request_id: Mapped[UUID | None]


class ApiKey(Base):
    """A credential of a program, by the SHA-256 of its secret. `scopes` are split by spaces.

    The row of a deleted key stays for a day: it tells other processes, and repeated calls.
    """

    __tablename__ = "api_key"
    __table_args__ = (
        Index("idx_api_key_user_id", "user_id", "create_time"),
        Index("idx_api_key_delete_time", "delete_time"),
    )

    key_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app_user.user_id", ondelete="CASCADE"))
    display_name: Mapped[str] = mapped_column(String(128))
    scopes: Mapped[str] = mapped_column(Text, server_default="")
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    hint: Mapped[str] = mapped_column(String(16))
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    expire_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_use_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    delete_time: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LoginAttempts(Base):
    """Failed sign-ins of late that have something in common, an account or an address.

    `subject` is a keyed hash of that, so that the table tells nobody who tried what.
    """

    __tablename__ = "login_attempts"
    __table_args__ = (Index("idx_login_attempts_expire_time", "expire_time"),)

    subject: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    failures: Mapped[int]
    next_time: Mapped[datetime] = mapped_column(UtcDateTime)
    expire_time: Mapped[datetime] = mapped_column(UtcDateTime)
