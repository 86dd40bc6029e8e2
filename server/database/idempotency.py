"""Calls that were done once: a repeat with the same request_id gets the same answer.

The row is written in the transaction of the change, so neither is there without the other.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.database.base import Base
from server.database.types import UtcDateTime


class IdempotentCall(Base):
    """A call that changed something, by who called what with which request_id.

    `request_hash` is keyed, for a request may hold a password; `answer` is the message.
    """

    __tablename__ = "idempotent_call"
    __table_args__ = (Index("idx_idempotent_call_create_time", "create_time"),)

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    method: Mapped[str] = mapped_column(String(128), primary_key=True)
    request_id: Mapped[UUID] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
