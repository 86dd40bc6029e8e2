"""How connections to PostgreSQL are opened and closed when it does not answer."""

from typing import Any

import asyncpg

CLOSE_SECONDS = 0.5
"""Time for a good-bye. A statement that was given up is first cancelled, which takes a round
trip on a connection of its own; whoever waits longer waits for a server that is not there."""


class Connection(asyncpg.Connection):
    """A connection that is soon given up when it is closed.

    SQLAlchemy closes the connection of a statement that was cancelled or took too long, and
    waits 2 seconds for it: that long a call would go on past its deadline.
    """

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's
        """Say good-bye, or hang up after CLOSE_SECONDS."""
        bound = CLOSE_SECONDS if timeout is None else min(timeout, CLOSE_SECONDS)
        await super().close(timeout=bound)


async def connect(*arguments: Any, **options: Any) -> Connection:
    """Open a connection.

    Raises:
        ConnectionError: no answer in time; nothing was asked yet, so this is no deadline.
    """
    try:
        return await asyncpg.connect(*arguments, connection_class=Connection, **options)
    except TimeoutError as error:
        raise ConnectionError("PostgreSQL does not answer") from error
