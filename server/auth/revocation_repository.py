"""What ended and who changed, as the database knows it from every process."""

from datetime import datetime

from server.auth.domain import ACTIVE
from server.auth.revocation_statements import CHANGED_SINCE, KEY, MAX_ROWS, SESSION, USER
from server.auth.revocations import Changes, SessionEnd, UserChange
from server.database.engine import Database


class RevocationRows:
    """Reads what changed. Implements ChangeSource."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since(self, moment: datetime) -> Changes:
        """Return what changed at that moment or later, the newest MAX_ROWS of each kind."""
        rows = await self._database.read.all(CHANGED_SINCE, {"since": moment})
        times: dict[str, list[datetime]] = {SESSION: [], KEY: [], USER: []}
        for row in rows:
            times[row.kind].append(row.time)
        oldest = [min(kind) for kind in times.values() if len(kind) == MAX_ROWS]
        return Changes(
            [SessionEnd(row.subject, row.time) for row in rows if row.kind != USER],
            [
                UserChange(row.subject, row.time, row.state == ACTIVE)
                for row in rows
                if row.kind == USER
            ],
            missed=max(oldest, default=None),
        )
