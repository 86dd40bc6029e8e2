"""Login sessions and refresh tokens in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from server.auth import session_statements as sql
from server.auth.domain import (
    LoginSession,
    NewRefreshToken,
    RefreshRefused,
    RefusalCause,
    SignedIn,
)
from server.auth.rows import session_of, session_values, token_values, user_of
from server.database.engine import Database, WriteSession


class SessionRows:
    """Keeps login sessions and their refresh tokens. Implements SessionRepository."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_session(
        self, session: LoginSession, token: NewRefreshToken, password_hash: str
    ) -> bool:
        """Store a session with its first token and note the time of the sign-in."""

        async def work(write: WriteSession) -> bool:
            noted = await write.execute(
                sql.NOTE_LOGIN,
                {
                    "owner": session.user_id,
                    "verified_hash": password_hash,
                    "at": session.create_time,
                },
            )
            if noted.rowcount != 1:
                return False
            await write.execute(sql.ADD_SESSION, session_values(session))
            await write.execute(sql.ADD_TOKEN, token_values(token, session, parent_hash=None))
            return True

        return await self._database.transaction(work)

    async def rotate(
        self, used_hash: bytes, successor: NewRefreshToken
    ) -> SignedIn | RefreshRefused:
        """Exchange a token for its successor, for at most one of any number of callers."""
        now = successor.create_time

        async def work(write: WriteSession) -> SignedIn | RefreshRefused:
            used = await write.execute(sql.USE_TOKEN, {"hash": used_hash, "at": now})
            row = await write.first(sql.SESSION_OF_TOKEN, {"hash": used_hash})
            if used.rowcount != 1 or row is None:
                return await _refusal(write, row, now)
            session = session_of(row)
            noted = await write.execute(
                sql.NOTE_REFRESH, {"session": session.session_id, "at": now}
            )
            if noted.rowcount != 1:
                # It was ended between the two updates.
                row = await write.first(sql.SESSION_OF_TOKEN, {"hash": used_hash})
                return RefreshRefused(RefusalCause.REVOKED, session_of(row) if row else session)
            await write.execute(sql.ADD_TOKEN, token_values(successor, session, used_hash))
            return SignedIn(user_of(row), session)

        return await self._database.transaction(work)

    async def find_signed_in(self, user_id: UUID, session_id: UUID) -> SignedIn | None:
        """Return the user's session, ended or not."""
        row = await self._database.read.first(
            sql.SESSION_OF_USER, {"owner": user_id, "session": session_id}
        )
        return SignedIn(user_of(row), session_of(row)) if row else None

    async def revoke_session(self, session_id: UUID, now: datetime) -> None:
        """End one session; one that has ended stays as it is."""

        async def work(write: WriteSession) -> None:
            await write.execute(sql.REVOKE_SESSION, {"session": session_id, "at": now})

        await self._database.transaction(work)

    async def revoke_sessions_of(self, user_id: UUID, now: datetime) -> Sequence[UUID]:
        """End every session of a user and return those that ended now."""
        return await self._database.transaction(lambda write: revoke_all(write, user_id, now))


async def revoke_all(write: WriteSession, user_id: UUID, now: datetime) -> Sequence[UUID]:
    """End every login session of a user and return those that ended now."""
    await write.execute(sql.REVOKE_SESSIONS, {"owner": user_id, "at": now})
    return [
        row.session_id for row in await write.all(sql.REVOKED_AT, {"owner": user_id, "at": now})
    ]


async def _refusal(write: WriteSession, row: Row[Any] | None, now: datetime) -> RefreshRefused:
    """Tell why a token was not exchanged; one that was used before ends its session."""
    if row is None:
        return RefreshRefused(RefusalCause.INVALID)
    session = session_of(row)
    if row.use_time is not None:
        await write.execute(sql.REVOKE_SESSION, {"session": session.session_id, "at": now})
        return RefreshRefused(RefusalCause.REUSED, session)
    if session.revoke_time is not None:
        return RefreshRefused(RefusalCause.REVOKED, session)
    return RefreshRefused(RefusalCause.INVALID, session)
