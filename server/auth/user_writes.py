"""Changes of users in the database, each in one transaction with its record in the audit trail."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from server.audit.trail import AuditRows
from server.auth import user_write_statements as sql
from server.auth.domain import ACTIVE, Account, User
from server.auth.rows import user_of, user_values
from server.auth.session_repository import revoke_all
from server.auth.user_rules import Changed, Decide, Missing, Present, Taken
from server.auth.user_statements import ADD_ROLE, ADD_USER
from server.core.audit import AuditRecord
from server.core.idempotency import Repeatable, Replay
from server.database.engine import Database, WriteSession
from server.database.idempotency import IdempotentCalls


class _TakenBack(Exception):
    """Ends a transaction that was only to be tried."""


class UserWrites:
    """Stores changes of users. Implements UserChangeRepository."""

    def __init__(self, database: Database, calls: IdempotentCalls, audits: AuditRows) -> None:
        self._database = database
        self._calls = calls
        self._audits = audits

    async def add(
        self,
        account: Account,
        record: AuditRecord,
        call: Repeatable[User] | None = None,
        *,
        only_check: bool = False,
    ) -> User | Replay:
        """Store a new user with its roles; with `only_check` take it back again."""
        user = account.user

        async def work(write: WriteSession) -> User:
            await _check_taken(write, user, new=True)
            await _check_references(write, user)
            await write.execute(ADD_USER, user_values(account))
            await _add_roles(write, user.user_id, user.roles)
            if only_check:
                raise _TakenBack
            await self._audits.add(write, record)
            return user

        try:
            outcome = await self._calls.once(call, work)
        except _TakenBack:
            return user
        if isinstance(outcome, Replay):
            # What a try before this one had stored was taken back with it.
            record.stored = False
        return outcome

    async def change(
        self,
        user_id: UUID,
        decide: Decide,
        record: AuditRecord,
        *,
        spares_admin: bool = False,
        new_hash: str | None = None,
    ) -> Changed | None:
        """Decide about a user and store the outcome; None where there is no such user."""

        async def work(write: WriteSession) -> Changed | None:
            present = await _present(write, user_id, spares_admin=spares_admin)
            if present is None:
                return None
            after = decide(present)
            if after is None:
                return Changed(present.user)
            ended = await _store(write, present.user, after, new_hash)
            await self._audits.add(write, record)
            return Changed(after, ended)

        try:
            return await self._database.transaction(work)
        except IntegrityError:
            # Somebody else took the address meanwhile: it is there to be seen now.
            return await self._database.transaction(work)


async def _present(write: WriteSession, user_id: UUID, *, spares_admin: bool) -> Present | None:
    """Hold a user and read it; with `spares_admin` hold every administrator's role first.

    Everybody holds these in the same order, so nobody waits for somebody who waits.
    """
    owner = {"owner": user_id}
    if spares_admin:
        await write.all(sql.HOLD_ADMINS)
    await write.first(sql.HOLD_USER, owner)
    row = await write.first(sql.USER_OF_ID, owner)
    if row is None:
        return None
    last = spares_admin and await write.first(sql.OTHER_ADMIN, owner) is None
    return Present(user_of(row), last_admin=last)


async def _store(
    write: WriteSession, before: User, after: User, new_hash: str | None
) -> Sequence[UUID]:
    """Write what differs and return the login sessions that ended."""
    if after.email != before.email:
        await _check_taken(write, after, new=False)
    await _check_references(write, after, before)
    written = await write.execute(sql.UPDATE_USER, _values(before, after, new_hash))
    assert written.rowcount == 1, "the row is held, so nobody else can have changed it"
    for role in set(before.roles) - set(after.roles):
        await write.execute(sql.REMOVE_ROLE, {"owner": after.user_id, "unwanted": role})
    await _add_roles(write, after.user_id, sorted(set(after.roles) - set(before.roles)))
    if new_hash is None and (after.state == ACTIVE or before.state != ACTIVE):
        return ()
    return await revoke_all(write, after.user_id, after.update_time)


async def _add_roles(write: WriteSession, user_id: UUID, roles: Sequence[str]) -> None:
    if roles:
        await write.execute(ADD_ROLE, [{"user_id": user_id, "role": role} for role in roles])


async def _check_taken(write: WriteSession, user: User, *, new: bool) -> None:
    """Raise Taken where somebody else has the address, or the id of a new user."""
    rows = await write.all(sql.TAKEN, {"address": user.email, "owner": user.user_id})
    for row in rows:
        holder = f"users/{row.chosen_id or row.user_id}"
        if row.user_id != user.user_id:
            raise Taken("email", holder)
        if new:
            raise Taken("user_id", holder)


async def _check_references(write: WriteSession, user: User, before: User | None = None) -> None:
    """Raise Missing where a reference that is new leads nowhere."""
    references = (
        ("customer", "customers", sql.CUSTOMER, user.customer_id, before and before.customer_id),
        ("staff", "staff", sql.STAFF, user.staff_id, before and before.staff_id),
    )
    for field, collection, statement, number, known in references:
        if number in (None, known):
            continue
        if await write.first(statement, {"number": number}) is None:
            raise Missing(field, f"{collection}/{number}")


def _values(before: User, after: User, new_hash: str | None) -> dict[str, Any]:
    return {
        "new_hash": new_hash,
        "owner": after.user_id,
        "seen_revision": before.revision,
        **{f"new_{name}": getattr(after, name) for name in sql.WRITTEN},
    }
