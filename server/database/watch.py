"""Whether the database answers, for the health service to follow."""

import asyncio
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from server.database.engine import Database

INTERVAL_SECONDS = 2.0


class Report(Protocol):
    """Takes whether the database answers."""

    def __call__(self, *, up: bool) -> None:
        """Note the state."""


async def watch_database(database: Database, report: Report, log: FilteringBoundLogger) -> None:
    """Ask the database again and again and report each change; runs until cancelled."""
    up = True
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        answers = await _answers(database)
        if answers != up:
            up = answers
            report(up=up)
            log.warning("database state", up=up)


async def _answers(database: Database) -> bool:
    try:
        async with asyncio.timeout(INTERVAL_SECONDS):
            await database.ping()
    except Exception:  # noqa: BLE001  # whatever it is, the database does not answer
        return False
    return True
