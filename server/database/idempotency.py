"""Calls that were done once: a repeat with the same request_id gets the same answer.

The row is written in the transaction of the change, so neither is there without the other.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import (
    Executable,
    Index,
    LargeBinary,
    Row,
    String,
    bindparam,
    delete,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from server.core.clock import Clock
from server.core.idempotency import RETENTION, Repeatable, Replay
from server.database.base import Base
from server.database.engine import Database, WriteSession
from server.database.names import named
from server.database.types import UtcDateTime

T = TypeVar("T")


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


_SINCE: Final = bindparam("since", type_=IdempotentCall.create_time.type)
_THIS: Final = (
    IdempotentCall.user_id == bindparam("caller"),
    IdempotentCall.method == bindparam("called"),
    IdempotentCall.request_id == bindparam("id"),
)
_FIND: Final = named(
    "idempotent_calls.find",
    select(IdempotentCall.request_hash, IdempotentCall.answer, IdempotentCall.create_time).where(
        *_THIS, IdempotentCall.create_time > _SINCE
    ),
)
_ADD: Final = named("idempotent_calls.add", insert(IdempotentCall))
_FORGET: Final = named(
    "idempotent_calls.forget",
    delete(IdempotentCall).where(*_THIS, IdempotentCall.create_time <= _SINCE),
)


class _Reads(Protocol):
    async def first(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Row[Any] | None: ...


class IdempotentCalls:
    """Runs changes at most once for each request_id, for RETENTION."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def once(
        self, call: Repeatable[T] | None, work: Callable[[WriteSession], Awaitable[T]]
    ) -> T | Replay:
        """Run the work in a transaction, or return the answer of when it was run before.

        Of any number of equal calls at a time one does the work. Work that breaks a unique
        constraint is run a second time: what was in its way is there to be seen by then.

        Raises:
            DomainError: REQUEST_ID_REUSED, the request_id came with another request before.
        """

        async def kept(write: WriteSession) -> T | Replay:
            replay = await self.find(call, write)
            if replay is not None:
                return replay
            result = await work(write)
            if call is not None:
                await self._keep(write, call, result)
            return result

        try:
            return await self._twice(kept)
        except Exception:
            # What stood in the way may be what the first of several equal calls made meanwhile.
            replay = await self.find(call, self._database.read)
            if replay is None:
                raise
            return replay

    async def _twice(self, work: Callable[[WriteSession], Awaitable[T | Replay]]) -> T | Replay:
        try:
            return await self._database.transaction(work)
        except IntegrityError:
            return await self._database.transaction(work)

    async def find(self, call: Repeatable[T] | None, reads: _Reads) -> Replay | None:
        """Return the first answer to a call; raises DomainError REQUEST_ID_REUSED."""
        if call is None:
            return None
        row = await reads.first(_FIND, self._this(call))
        if row is None:
            return None
        if row.request_hash != call.request_hash:
            raise call.reused(row.create_time)
        return Replay(row.answer)

    async def _keep(self, write: WriteSession, call: Repeatable[T], result: T) -> None:
        # An answer that is too old to be given may still be there, until it is swept away.
        await write.execute(_FORGET, self._this(call))
        await write.execute(
            _ADD,
            {
                "user_id": call.user_id,
                "method": call.method,
                "request_id": call.request_id,
                "request_hash": call.request_hash,
                "answer": call.answer(result),
                "create_time": self._clock(),
            },
        )

    def _this(self, call: Repeatable[T]) -> Mapping[str, Any]:
        return {
            "caller": call.user_id,
            "called": call.method,
            "id": call.request_id,
            "since": self._clock() - RETENTION,
        }
