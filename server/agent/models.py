"""Tables of the chat: sessions, turns, and the log of events."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from server.database.base import Base
from server.database.types import UtcDateTime


class ChatSession(Base):
    """A conversation of one user. `config` is JSON."""

    __tablename__ = "chat_session"
    __table_args__ = (Index("idx_chat_session_owner_id", "owner_id", "create_time"),)

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("app_user.user_id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(Text, server_default="")
    config: Mapped[bytes] = mapped_column(LargeBinary)
    active_agent: Mapped[str] = mapped_column(String(64), server_default="")
    last_sequence: Mapped[int] = mapped_column(BigInteger, server_default="0")
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    update_time: Mapped[datetime] = mapped_column(UtcDateTime)
    end_time: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ChatTurn(Base):
    """One user message and the answer to it.

    `state` is queued, running, completed, cancelled or failed; `tool_summary` tells the
    next turn's agents what the tools returned; `usage` is JSON.
    """

    __tablename__ = "chat_turn"
    __table_args__ = (Index("idx_chat_turn_position", "session_id", "position", unique=True),)

    session_id: Mapped[UUID] = mapped_column(
        ForeignKey("chat_session.session_id", ondelete="CASCADE"), primary_key=True
    )
    turn_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column()
    state: Mapped[str] = mapped_column(String(16))
    user_text: Mapped[str] = mapped_column(Text)
    answer_text: Mapped[str] = mapped_column(Text, server_default="")
    agent: Mapped[str] = mapped_column(String(64), server_default="")
    tool_summary: Mapped[str] = mapped_column(Text, server_default="")
    usage: Mapped[bytes] = mapped_column(LargeBinary)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    end_time: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ChatEvent(Base):
    """One event of a session as it was sent: a serialized ChatResponse."""

    __tablename__ = "chat_event"

    session_id: Mapped[UUID] = mapped_column(
        ForeignKey("chat_session.session_id", ondelete="CASCADE"), primary_key=True
    )
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    turn_id: Mapped[UUID | None] = mapped_column()
    payload: Mapped[bytes] = mapped_column(LargeBinary)
