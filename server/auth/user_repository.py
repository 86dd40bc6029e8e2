"""Users in the database."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from server.auth import user_statements as sql
from server.auth.domain import Account, User
from server.auth.rows import user_of, user_values
from server.auth.session_repository import revoke_all
from server.database.engine import Database, WriteSession


class UserRows:
    """Keeps users and their roles. Implements UserRepository."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_account(self, email: str) -> Account | None:
        """Return the account with this folded address."""
        row = await self._database.read.first(sql.ACCOUNT, {"address": email})
        return Account(user_of(row), row.password_hash) if row else None

    async def users(self) -> Sequence[User]:
        """Return every user in the order of the address."""
        users = [user_of(row) for row in await self._database.read.all(sql.USERS)]
        # Sorted here, for databases order text each by its own locale.
        return sorted(users, key=lambda user: user.email)

    async def add_user(self, account: Account) -> bool:
        """Store a user with roles; False when the address is taken."""
        user = account.user

        async def work(write: WriteSession) -> None:
            await write.execute(sql.ADD_USER, user_values(account))
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
            return await revoke_all(write, user_id, now)

        return await self._database.transaction(work)
