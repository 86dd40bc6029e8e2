"""Login sessions and refresh tokens in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row

from server.audit.trail import AuditRows
from server.auth import session_statements as sql
from server.auth.domain import LoginSession, SignedIn, User
from server.auth.rotation import (
    KeptToken,
    NewRefreshToken,
    RefreshAttempt,
    RefreshRefused,
    RefusalCause,
    Rotated,
    refusal_of,
)
from server.auth.rows import session_of, session_values, token_values, user_of
from server.core.audit import AuditRecord
from server.core.paging import PageRequest
from server.core.principal import FOREVER
from server.database.engine import Database, WriteSession

_LAST: Final = (FOREVER, UUID(int=2**128 - 1))
"""What every login session comes after in their order."""


class SessionRows:
    """Keeps login sessions and their refresh tokens. Implements SessionRepository."""

    def __init__(self, database: Database, audit: AuditRows) -> None:
        self._database = database
        self._audit = audit

    async def open_session(
        self,
        session: LoginSession,
        token: NewRefreshToken,
        password_hash: str,
        record: AuditRecord,
    ) -> bool:
        """Store a session with its first token and note the time of the sign-in."""
        login = {
            "owner": session.user_id,
            "verified_hash": password_hash,
            "at": session.create_time,
        }

        async def work(write: WriteSession) -> bool:
            noted = await write.execute(sql.NOTE_LOGIN, login)
            if noted.rowcount != 1:
                return False
            await write.execute(sql.ADD_SESSION, session_values(session))
            await write.execute(sql.ADD_TOKEN, token_values(token, session, parent_hash=None))
            _describe(record, session)
            await self._audit.add(write, record)
            return True

        return await self._database.transaction(work)

    async def rotate(
        self, attempt: RefreshAttempt, successor: NewRefreshToken, record: AuditRecord
    ) -> Rotated | RefreshRefused:
        """Exchange a token for its successor, for at most one of any number of callers."""
        now = successor.create_time
        use = {"hash": attempt.token_hash, "at": now, "request": attempt.request_id}

        async def work(write: WriteSession) -> Rotated | RefreshRefused:
            # The session's row is held from here on, so that all who refresh it take turns.
            await write.execute(sql.LOCK_SESSION, {"hash": attempt.token_hash})
            used = await write.execute(sql.USE_TOKEN, use)
            row = await write.first(sql.SESSION_OF_TOKEN, {"hash": attempt.token_hash})
            if row is None:
                return RefreshRefused(RefusalCause.INVALID)
            _describe(record, session_of(row))
            if used.rowcount == 1:
                await write.execute(sql.USE_SIBLINGS, {"parent": row.parent_hash, "at": now})
                outcome: Rotated | RefreshRefused = Rotated(user_of(row), session_of(row))
            else:
                outcome = await _judged(write, attempt, row, now)
            if isinstance(outcome, Rotated):
                await self._add_successor(write, attempt, outcome, successor, record)
            return outcome

        return await self._database.transaction(work)

    async def find_user(self, user_id: UUID) -> User | None:
        """Return a user."""
        row = await self._database.read.first(sql.USER_BY_ID, {"owner": user_id})
        return user_of(row) if row else None

    async def find_signed_in(self, user_id: UUID, session_id: UUID) -> SignedIn | None:
        """Return the user's session, ended or not."""
        row = await self._database.read.first(
            sql.SESSION_OF_USER, {"owner": user_id, "session": session_id}
        )
        return SignedIn(user_of(row), session_of(row)) if row else None

    async def sessions_of(
        self, user_id: UUID, page: PageRequest, now: datetime
    ) -> Sequence[LoginSession]:
        """Return the user's sessions that have not ended, the newest first, and one more."""
        before, before_session = _LAST
        if page.after:
            before = datetime.fromisoformat(str(page.after[0]))
            before_session = UUID(str(page.after[1]))
        rows = await self._database.read.all(
            sql.SESSIONS_OF_USER,
            {
                "owner": user_id,
                "at": now,
                "before": before,
                "before_session": before_session,
                "limit": page.size + 1,
            },
        )
        return [session_of(row) for row in rows]

    async def revoke_session(
        self, user_id: UUID, session_id: UUID, now: datetime, record: AuditRecord
    ) -> bool:
        """End one session; one that has ended stays as it is. False: the user has none such."""
        which = {"owner": user_id, "session": session_id}

        async def work(write: WriteSession) -> bool:
            ended = await write.execute(sql.REVOKE_SESSION, {**which, "at": now})
            if ended.rowcount != 1:
                return await write.first(sql.SESSION_OF_USER, which) is not None
            await self._audit.add(write, record)
            return True

        return await self._database.transaction(work)

    async def revoke_sessions_of(
        self, user_id: UUID, now: datetime, record: AuditRecord
    ) -> Sequence[UUID]:
        """End every session of a user and return those that ended now."""

        async def work(write: WriteSession) -> Sequence[UUID]:
            await self._audit.add(write, record)
            return await revoke_all(write, user_id, now)

        return await self._database.transaction(work)

    async def _add_successor(
        self,
        write: WriteSession,
        attempt: RefreshAttempt,
        outcome: Rotated,
        successor: NewRefreshToken,
        record: AuditRecord,
    ) -> None:
        session = outcome.session
        await write.execute(
            sql.NOTE_REFRESH, {"session": session.session_id, "at": successor.create_time}
        )
        add = sql.REPEAT_TOKEN if outcome.repeats else sql.ADD_TOKEN
        await write.execute(add, token_values(successor, session, attempt.token_hash))
        await self._audit.add(write, record)


async def revoke_all(write: WriteSession, user_id: UUID, now: datetime) -> Sequence[UUID]:
    """End every login session of a user and return those that ended now."""
    await write.execute(sql.REVOKE_SESSIONS, {"owner": user_id, "at": now})
    return [
        row.session_id for row in await write.all(sql.REVOKED_AT, {"owner": user_id, "at": now})
    ]


async def _judged(
    write: WriteSession, attempt: RefreshAttempt, row: Row[Any], now: datetime
) -> Rotated | RefreshRefused:
    """Answer for a token that cannot be used now; one that was stolen ends its session."""
    found = SignedIn(user_of(row), session_of(row))
    (counted,) = await write.all(sql.SUCCESSORS, {"hash": attempt.token_hash})
    token = KeptToken(row.use_time, row.use_request_id, counted.number, counted.used)
    cause = refusal_of(attempt, token, found, now)
    if cause is None:
        return Rotated(found.user, found.session, repeats=counted.number)
    if cause is RefusalCause.REUSED:
        session = {"owner": found.user.user_id, "session": found.session.session_id}
        await write.execute(sql.REVOKE_SESSION, {**session, "at": now})
    return RefreshRefused(cause, found.session)


def _describe(record: AuditRecord, session: LoginSession) -> None:
    """Say in the record of a call without a caller whose session it is about."""
    record.principal = f"users/{session.user_id}"
    record.credential = record.target = session.name
