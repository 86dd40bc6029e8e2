"""Hashes of passwords in the database."""

from collections.abc import Sequence
from uuid import UUID

from server.audit.trail import AuditRows
from server.auth import password_statements as sql
from server.auth.domain import Account
from server.auth.password_change import NewPassword
from server.auth.rows import user_of
from server.core.audit import AuditRecord
from server.database.engine import Database, WriteSession


class PasswordRows:
    """Keeps hashes. Implements HashRepository and PasswordRepository."""

    def __init__(self, database: Database, audit: AuditRows) -> None:
        self._database = database
        self._audit = audit

    async def account_of(self, user_id: UUID) -> Account | None:
        """Return a user's account."""
        row = await self._database.read.first(sql.ACCOUNT_OF, {"owner": user_id})
        return Account(user_of(row), row.password_hash) if row else None

    async def replace_hash(self, user_id: UUID, verified_hash: str, new_hash: str) -> bool:
        """Replace a hash by another one of the same password; False when it was changed."""
        values = {"owner": user_id, "verified_hash": verified_hash, "new_hash": new_hash}

        async def work(write: WriteSession) -> bool:
            return (await write.execute(sql.REPLACE_HASH, values)).rowcount == 1

        return await self._database.transaction(work)

    async def change(self, new: NewPassword, record: AuditRecord) -> Sequence[UUID] | None:
        """Store a password with its audit record; return the sessions that ended by it."""

        async def work(write: WriteSession) -> Sequence[UUID] | None:
            changed = await write.execute(
                sql.CHANGE_PASSWORD,
                {
                    "owner": new.user_id,
                    "verified_hash": new.verified_hash,
                    "new_hash": new.new_hash,
                    "at": new.change_time,
                },
            )
            if changed.rowcount != 1:
                return None
            await self._audit.add(write, record)
            return [] if new.keep_others else await _end_others(write, new)

        return await self._database.transaction(work)


async def _end_others(write: WriteSession, new: NewPassword) -> Sequence[UUID]:
    # No session is added in between: that takes the user's row, which the change holds.
    others = {"owner": new.user_id, "session": new.session_id}
    ended = [row.session_id for row in await write.all(sql.OTHER_SESSIONS, others)]
    await write.execute(sql.REVOKE_OTHERS, {**others, "at": new.change_time})
    return ended
