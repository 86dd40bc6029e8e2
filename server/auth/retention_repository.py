"""Deletes rows that have been kept long enough."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Executable

from server.auth import retention_statements as sql
from server.database.engine import Database, WriteSession

AFTER_END: Final = timedelta(days=30)
"""How long ended sessions and their tokens are kept: a stolen token that comes late is still known
as one that was used.
"""
_USERS_AT_ONCE = 10
"""All that a user has goes in the same transaction."""


class OldRows:
    """Deletes at most so many rows that ended up to a moment, and returns how many it did."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def expired_tokens(self, end: datetime, limit: int) -> int:
        """Delete refresh tokens that expired."""
        return await self._delete(sql.EXPIRED_TOKENS, end, limit)

    async def revoked_tokens(self, end: datetime, limit: int) -> int:
        """Delete refresh tokens whose login session was revoked."""
        return await self._delete(sql.TOKENS_OF_REVOKED, end, limit)

    async def ended_sessions(self, end: datetime, limit: int) -> int:
        """Delete login sessions that ended and have no refresh tokens any more."""
        return await self._delete(sql.ENDED_SESSIONS, end, limit)

    async def idempotent_calls(self, end: datetime, limit: int) -> int:
        """Delete answers of calls that were made until then."""
        return await self._delete(sql.IDEMPOTENT_CALLS, end, limit)

    async def purged_users(self, end: datetime, limit: int) -> int:
        """Delete users whose purge was due, with all that belongs to them."""
        number = 0
        while number < limit:
            few = min(_USERS_AT_ONCE, limit - number)
            deleted = await self._delete(sql.PURGED_USERS, end, few)
            number += deleted
            if deleted < few:
                break
        return number

    async def _delete(self, statement: Executable, end: datetime, limit: int) -> int:
        async def work(write: WriteSession) -> int:
            return (await write.execute(statement, {"at": end, "most": limit})).rowcount

        return await self._database.transaction(work)
