"""Tables of sign-in."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from server.database.base import Base
from server.database.types import UtcDateTime


class AppUser(Base):
    """A person or a service that signs in. `email` is kept case-folded."""

    __tablename__ = "app_user"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    display_name: Mapped[str] = mapped_column(String(128), server_default="")
    password_hash: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), server_default="active")
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    last_login_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    password_change_time: Mapped[datetime] = mapped_column(UtcDateTime)


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
    __table_args__ = (Index("idx_login_session_user_id", "user_id"),)

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app_user.user_id", ondelete="CASCADE"))
    device_label: Mapped[str] = mapped_column(String(64), server_default="")
    user_agent: Mapped[str] = mapped_column(String(256), server_default="")
    ip_address: Mapped[str] = mapped_column(String(64), server_default="")
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    last_refresh_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expire_time: Mapped[datetime] = mapped_column(UtcDateTime)
    revoke_time: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RefreshToken(Base):
    """A refresh token by its SHA-256. `use_time` is set once, by whoever rotates it."""

    __tablename__ = "refresh_token"
    __table_args__ = (Index("idx_refresh_token_session_id", "session_id"),)

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(
        ForeignKey("login_session.session_id", ondelete="CASCADE")
    )
    parent_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    use_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expire_time: Mapped[datetime] = mapped_column(UtcDateTime)
