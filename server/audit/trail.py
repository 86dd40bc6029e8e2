"""The rows of the audit trail: added with what they tell of, and read by operators."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, bindparam, insert, literal, or_, select

from server.audit.models import AuditEvent
from server.core.audit import AuditRecord
from server.core.clock import Clock
from server.core.resource_names import canonical
from server.database.engine import Database, WriteSession
from server.database.names import named
from server.database.types import UtcDateTime

_BATCH: Final = 500

_ADD = named("audit.add", insert(AuditEvent))
_PRINCIPAL = bindparam("principal", type_=AuditEvent.principal.type)
_TARGET = bindparam("target", type_=AuditEvent.target.type)
_METHOD = bindparam("method", type_=AuditEvent.method.type)
_LIST = named(
    "audit.list",
    select(AuditEvent.__table__)
    .where(
        AuditEvent.event_id > bindparam("after"),
        AuditEvent.event_time >= bindparam("since", type_=UtcDateTime()),
        or_(literal("") == _PRINCIPAL, AuditEvent.principal == _PRINCIPAL),
        or_(
            literal("") == _TARGET,
            AuditEvent.target == _TARGET,
            AuditEvent.target.startswith(_TARGET.concat("/")),
        ),
        or_(literal("") == _METHOD, AuditEvent.method.endswith(_METHOD)),
    )
    .order_by(AuditEvent.event_id)
    .limit(_BATCH),
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which records to read: `principal` and `target` are resource names, "" is any.

    Of a target, what is below it counts too. `method` is the end of a method's name.
    """

    since: datetime
    principal: str = ""
    target: str = ""
    method: str = ""


class AuditRows:
    """Adds records to the audit trail and reads them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, write: WriteSession, record: AuditRecord) -> None:
        """Add a record in the transaction of the change that it tells of."""
        await write.execute(_ADD, self._values(record))
        record.stored = True

    async def store(self, record: AuditRecord) -> None:
        """Store a record that no change has stored."""
        await self._database.transaction(lambda write: self.add(write, record))

    async def read(self, chosen: Chosen) -> AsyncIterator[Row[Any]]:
        """Yield the records in the order in which they came."""
        after = 0
        while True:
            rows = await self._database.read.all(
                _LIST,
                {
                    "after": after,
                    "since": chosen.since,
                    "principal": chosen.principal,
                    "target": chosen.target,
                    "method": chosen.method,
                },
            )
            for row in rows:
                yield row
            if len(rows) < _BATCH:
                return
            after = rows[-1].event_id

    def _values(self, record: AuditRecord) -> dict[str, Any]:
        return {
            "event_time": self._clock(),
            "method": record.method,
            "outcome": record.outcome,
            "principal": record.principal,
            "credential": record.credential,
            "target": _fitted(canonical(record.target), 256),
            "peer_address": _fitted(record.peer_address, 64),
            "user_agent": _fitted(record.user_agent, 256),
            "request_id": record.request_id,
            "request": dict(record.request) if record.request is not None else None,
        }


def _fitted(text: str, limit: int) -> str:
    """Fit what a stranger sent into its column."""
    return "".join(c if c.isprintable() else " " for c in text[:limit])
