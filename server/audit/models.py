"""The table of the audit trail. Rows are added and never changed: triggers refuse the rest."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from server.database.base import Base
from server.database.types import UtcDateTime


class AuditEvent(Base):
    """One call that changed something, or was to. `request` has no secrets in it."""

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("idx_audit_event_event_time", "event_time"),
        Index("idx_audit_event_principal", "principal", "event_id"),
        Index("idx_audit_event_target", "target", "event_id"),
    )

    event_id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
    )
    event_time: Mapped[datetime] = mapped_column(UtcDateTime)
    method: Mapped[str] = mapped_column(String(128))
    outcome: Mapped[str] = mapped_column(String(64))
    principal: Mapped[str] = mapped_column(String(128), server_default="")
    credential: Mapped[str] = mapped_column(String(128), server_default="")
    target: Mapped[str] = mapped_column(String(256), server_default="")
    peer_address: Mapped[str] = mapped_column(String(64), server_default="")
    user_agent: Mapped[str] = mapped_column(String(256), server_default="")
    request_id: Mapped[str] = mapped_column(String(64))
    request: Mapped[dict[str, Any] | None] = mapped_column(JSON)
