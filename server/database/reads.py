"""Single reads: one statement and one round trip each, on connections that commit by themselves.

Taking a connection, running the statement and giving the connection back are one plain
function. On PostgreSQL it runs in one greenlet, on SQLite in a thread: a switch for each of
the three steps would cost more than the statement.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from sqlalchemy import Engine, Executable, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import Pool, QueuePool
from sqlalchemy.util import greenlet_spawn

from server.core.telemetry import Telemetry, Timed
from server.database.names import name_of

Parameters = Mapping[str, Any]
Rows = Sequence[Row[Any]]

# AUTOCOMMIT leaves nothing open that would have to be rolled back when a connection returns.
AUTOCOMMIT: Mapping[str, Any] = {"isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}


@dataclass(frozen=True, slots=True)
class PoolState:
    """How many connections a pool may have, and how many are at work."""

    name: str
    size: int
    used: int

    @classmethod
    def of(cls, name: str, pool: Pool) -> Self:
        """Return the state of a pool at this moment."""
        assert isinstance(pool, QueuePool), "every pool here is a queue of connections"
        return cls(name, pool.size(), pool.checkedout())


class Reads(Protocol):
    """Runs single statements, and ends one whose caller is cancelled."""

    @property
    def pool(self) -> Pool:
        """The connections."""
        ...

    def read(self, statement: Executable, parameters: Parameters | None) -> Awaitable[Rows]:
        """Run a statement and return its rows."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class GreenletReads:
    """Reads with an asynchronous driver, which cancels a statement when its task is cancelled."""

    def __init__(self, engine: AsyncEngine, telemetry: Telemetry) -> None:
        self._engine = engine
        self._telemetry = telemetry

    @property
    def pool(self) -> Pool:
        """The connections."""
        return self._engine.pool

    def read(self, statement: Executable, parameters: Parameters | None) -> Awaitable[Rows]:
        """Run a statement and return its rows."""
        wait = Timed(self._telemetry.connection_wait, "read")
        return greenlet_spawn(read, self._engine.sync_engine, statement, parameters, wait)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


class ReadSession:
    """Single reads, each on its own. A read whose connection was lost is repeated once."""

    def __init__(self, reads: Reads, telemetry: Telemetry) -> None:
        self._reads = reads
        self._telemetry = telemetry

    async def all(self, statement: Executable, parameters: Parameters | None = None) -> Rows:
        """Return every row."""
        with Timed(self._telemetry.statement, name_of(statement)):
            return await self._twice(statement, parameters)

    async def first(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Row[Any] | None:
        """Return the first row or None."""
        rows = await self.all(statement, parameters)
        return rows[0] if rows else None

    async def _twice(self, statement: Executable, parameters: Parameters | None) -> Rows:
        try:
            return await self._reads.read(statement, parameters)
        except DBAPIError as error:
            # One dead connection condemns the whole pool: the second read opens a new one.
            if not error.connection_invalidated:
                raise
            return await self._reads.read(statement, parameters)


def read(engine: Engine, statement: Executable, parameters: Parameters | None, wait: Timed) -> Rows:
    """Take a connection, run a statement, give the connection back and return the rows."""
    with wait:
        connection = engine.connect()
    with connection:
        return connection.execute(statement, parameters).all()
