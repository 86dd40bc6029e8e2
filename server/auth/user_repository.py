"""Users in the database."""

from collections.abc import Sequence

from server.auth import user_statements as sql
from server.auth.domain import Account, User
from server.auth.rows import user_of
from server.database.engine import Database


class UserRows:
    """Finds users, for sign-in and for commands."""

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
