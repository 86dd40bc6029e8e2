"""Users, login sessions and refresh tokens in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError

from server.auth import statements as sql
from server.auth.domain import (
    Account,
    LoginSession,
    NewRefreshToken,
    RefreshRefused,
    RefusalCause,
    SignedIn,
    User,
)
from server.database.engine import Database, WriteSession


class AuthRepository:
    """Keeps what sign-in needs. Implements SessionRepository and UserRepository."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_account(self, email: str) -> Account | None:
        """Return the account with this folded address."""
        row = await self._database.read.first(sql.ACCOUNT, {"address": email})
        return Account(_user(row), row.password_hash) if row else None

    async def users(self) -> Sequence[User]:
        """Return every user in the order of the address."""
        users = [_user(row) for row in await self._database.read.all(sql.USERS)]
        # Sorted here, for databases order text each by its own locale.
        return sorted(users, key=lambda user: user.email)

    async def add_user(self, account: Account) -> bool:
        """Store a user with roles; False when the address is taken."""
        user = account.user

        async def work(write: WriteSession) -> None:
            await write.execute(sql.ADD_USER, _user_values(account))
            roles = [{"user_id": user.user_id, "role": role} for role in user.roles]
            if roles:
                await write.execute(sql.ADD_ROLE, roles)

        try:
            await self._database.transaction(work)
        except IntegrityError:
            return False
        return True

    async def grant_role(self, user_id: UUID, role: str, now: datetime) -> None:
        """Give a user a role; one the user has already stays."""

        async def work(write: WriteSession) -> None:
            # The update comes first: it holds the user's row, so that two who grant the same
            # role take turns.
            await write.execute(sql.TOUCH_USER, {"owner": user_id, "at": now})
            if await write.first(sql.HAS_ROLE, {"owner": user_id, "wanted": role}) is None:
                await write.execute(sql.ADD_ROLE, {"user_id": user_id, "role": role})

        await self._database.transaction(work)

    async def set_password(
        self, user_id: UUID, password_hash: str, now: datetime
    ) -> Sequence[UUID]:
        """Replace the hash, end every session of the user and return those that ended."""

        async def work(write: WriteSession) -> Sequence[UUID]:
            await write.execute(
                sql.SET_PASSWORD, {"owner": user_id, "new_hash": password_hash, "at": now}
            )
            return await _revoke_all(write, user_id, now)

        return await self._database.transaction(work)

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
            await write.execute(sql.ADD_SESSION, _session_values(session))
            await write.execute(sql.ADD_TOKEN, _token_values(token, session, parent_hash=None))
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
            session = _session(row)
            noted = await write.execute(
                sql.NOTE_REFRESH, {"session": session.session_id, "at": now}
            )
            if noted.rowcount != 1:
                # It was ended between the two updates.
                row = await write.first(sql.SESSION_OF_TOKEN, {"hash": used_hash})
                return RefreshRefused(RefusalCause.REVOKED, _session(row) if row else session)
            await write.execute(sql.ADD_TOKEN, _token_values(successor, session, used_hash))
            return SignedIn(_user(row), session)

        return await self._database.transaction(work)

    async def find_signed_in(self, user_id: UUID, session_id: UUID) -> SignedIn | None:
        """Return the user's session, ended or not."""
        row = await self._database.read.first(
            sql.SESSION_OF_USER, {"owner": user_id, "session": session_id}
        )
        return SignedIn(_user(row), _session(row)) if row else None

    async def revoke_session(self, session_id: UUID, now: datetime) -> None:
        """End one session; one that has ended stays as it is."""

        async def work(write: WriteSession) -> None:
            await write.execute(sql.REVOKE_SESSION, {"session": session_id, "at": now})

        await self._database.transaction(work)

    async def revoke_sessions_of(self, user_id: UUID, now: datetime) -> Sequence[UUID]:
        """End every session of a user and return those that ended now."""
        return await self._database.transaction(lambda write: _revoke_all(write, user_id, now))


async def _revoke_all(write: WriteSession, user_id: UUID, now: datetime) -> Sequence[UUID]:
    await write.execute(sql.REVOKE_SESSIONS, {"owner": user_id, "at": now})
    return [
        row.session_id for row in await write.all(sql.REVOKED_AT, {"owner": user_id, "at": now})
    ]


async def _refusal(write: WriteSession, row: Row[Any] | None, now: datetime) -> RefreshRefused:
    """Tell why a token was not exchanged; one that was used before ends its session."""
    if row is None:
        return RefreshRefused(RefusalCause.INVALID)
    session = _session(row)
    if row.use_time is not None:
        await write.execute(sql.REVOKE_SESSION, {"session": session.session_id, "at": now})
        return RefreshRefused(RefusalCause.REUSED, session)
    if session.revoke_time is not None:
        return RefreshRefused(RefusalCause.REVOKED, session)
    return RefreshRefused(RefusalCause.INVALID, session)


def _user(row: Row[Any]) -> User:
    return User(
        user_id=row.user_id,
        email=row.email,
        display_name=row.display_name,
        roles=tuple(sorted(row.roles.split(","))) if row.roles else (),
        state=row.state,
        create_time=row.create_time,
        update_time=row.update_time,
        last_login_time=row.last_login_time,
        password_change_time=row.password_change_time,
        chosen_id=row.chosen_id,
        customer_id=row.customer_id,
        staff_id=row.staff_id,
        roles_change_time=row.roles_change_time,
        delete_time=row.delete_time,
        purge_time=row.purge_time,
        revision=row.revision,
    )


def _session(row: Row[Any]) -> LoginSession:
    return LoginSession(
        session_id=row.session_id,
        user_id=row.user_id,
        device_label=row.device_label,
        user_agent=row.user_agent,
        ip_address=row.ip_address,
        create_time=row.session_create_time,
        expire_time=row.expire_time,
        revoke_time=row.revoke_time,
    )


def _user_values(account: Account) -> dict[str, Any]:
    user = account.user
    return {
        "user_id": user.user_id,
        "email": user.email,
        "display_name": user.display_name,
        "password_hash": account.password_hash,
        "state": user.state,
        "create_time": user.create_time,
        "update_time": user.update_time,
        "password_change_time": user.password_change_time,
        "chosen_id": user.chosen_id,
        "customer_id": user.customer_id,
        "staff_id": user.staff_id,
    }


def _session_values(session: LoginSession) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "user_id": session.user_id,
        "device_label": session.device_label,
        "user_agent": session.user_agent,
        "ip_address": session.ip_address,
        "create_time": session.create_time,
        "expire_time": session.expire_time,
    }


def _token_values(
    token: NewRefreshToken, session: LoginSession, parent_hash: bytes | None
) -> dict[str, Any]:
    return {
        "token_hash": token.token_hash,
        "session_id": session.session_id,
        "parent_hash": parent_hash,
        "create_time": token.create_time,
        "expire_time": session.cap(token.expire_time),
    }
