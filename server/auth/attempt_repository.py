"""Counts of failed attempts to sign in, in the database."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from server.auth import attempt_statements as sql
from server.auth.attempts import Change, Count
from server.database.engine import Database, WriteSession


class AttemptRows:
    """Keeps counts for all processes. Implements AttemptRepository."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._take = sql.TAKE["sqlite" if database.is_sqlite else "postgresql"]

    async def addresses_of(self, user_id: UUID, since: datetime) -> Sequence[str]:
        """Return the addresses from which a user has signed in since then."""
        rows = await self._database.read.all(sql.ADDRESSES, {"owner": user_id, "since": since})
        return [row.ip_address for row in rows]

    async def change(self, subjects: Sequence[bytes], now: datetime, change: Change) -> None:
        """Change counts in one transaction, which nobody else's comes between."""

        async def work(write: WriteSession) -> None:
            # All take them in the same order, so that no two wait for each other.
            counts = [await self._taken(write, subject, now) for subject in sorted(subjects)]
            changed = change({count.subject: count for count in counts})
            await write.execute(sql.KEEP, [_values(count) for count in changed])

        await self._database.transaction(work)

    async def forget_expired(self, now: datetime, limit: int) -> int:
        """Drop at most so many counts that mean nothing any more; return how many."""

        async def work(write: WriteSession) -> int:
            return (await write.execute(sql.FORGET, {"at": now, "most": limit})).rowcount

        return await self._database.transaction(work)

    async def _taken(self, write: WriteSession, subject: bytes, now: datetime) -> Count:
        new = {"subject": subject, "failures": 0, "next_time": now, "expire_time": now}
        row = await write.first(self._take, new)
        assert row is not None, "the statement answers the row that it holds"
        return Count(row.subject, row.failures, row.next_time, row.expire_time)


def _values(count: Count) -> dict[str, object]:
    return {
        "of": count.subject,
        "new_failures": count.failures,
        "new_next_time": count.next_time,
        "new_expire_time": count.expire_time,
    }
