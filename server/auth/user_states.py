"""Barring users, deleting them, and taking either back."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from server.auth.domain import ACTIVE, DELETED, SUSPENDED, User
from server.auth.user_rules import (
    ChangedUsers,
    Present,
    Target,
    alive,
    matched,
    outdated,
    spare,
)
from server.core.audit import AuditRecord
from server.core.errors import WrongState

KEPT_AFTER_DELETION: Final = timedelta(days=30)
"""From the deletion to the purge; until then it can be taken back (AIP-164)."""


class UserStates:
    """Moves users between ACTIVE, SUSPENDED and DELETED."""

    def __init__(self, changed: ChangedUsers) -> None:
        self._changed = changed

    async def suspend(self, target: Target, record: AuditRecord) -> User:
        """Bar a user and end every login session of it; one who is barred stays so.

        Raises:
            ResourceNotFound: there is no such user.
            WrongState: the last active administrator.
            DomainError: RESOURCE_DELETED, ETAG_MISMATCH.
        """

        def decide(present: Present, now: datetime) -> User | None:
            user = alive(present.user)
            if user.state == SUSPENDED:
                return None
            matched(target, user)
            spare(present, (ACTIVE,))
            return outdated(replace(user, state=SUSPENDED), now)

        return await self._changed.change(target, decide, record, spares_admin=True)

    async def reactivate(self, target: Target, record: AuditRecord) -> User:
        """Let a barred user sign in again; one who may do so already stays as it is.

        Raises:
            ResourceNotFound: there is no such user.
            DomainError: RESOURCE_DELETED, ETAG_MISMATCH.
        """

        def decide(present: Present, now: datetime) -> User | None:
            user = alive(present.user)
            if user.state == ACTIVE:
                return None
            matched(target, user)
            return outdated(replace(user, state=ACTIVE), now)

        return await self._changed.change(target, decide, record)

    async def delete(self, target: Target, record: AuditRecord) -> User:
        """Delete a user and end every login session of it.

        Raises:
            ResourceNotFound: there is no such user.
            WrongState: the last active administrator.
            DomainError: RESOURCE_DELETED, it is already; ETAG_MISMATCH.
        """

        def decide(present: Present, now: datetime) -> User | None:
            user = alive(present.user)
            matched(target, user)
            spare(present, (ACTIVE, SUSPENDED))
            deleted = replace(
                user,
                state=DELETED,
                delete_time=now,
                purge_time=now + KEPT_AFTER_DELETION,
            )
            return outdated(deleted, now)

        return await self._changed.change(target, decide, record, spares_admin=True)

    async def undelete(self, target: Target, record: AuditRecord) -> User:
        """Take a deletion back; the user is active again.

        Raises:
            ResourceNotFound: there is no such user, or its purge is due.
            WrongState: the user is not deleted.
            DomainError: ETAG_MISMATCH.
        """

        def decide(present: Present, now: datetime) -> User | None:
            user = present.user
            if user.state != DELETED:
                raise WrongState(
                    f"{user.name} is not deleted; there is nothing to take back",
                    user.name,
                    user.state.upper(),
                    [DELETED.upper()],
                )
            matched(target, user)
            restored = replace(user, state=ACTIVE, delete_time=None, purge_time=None)
            return outdated(restored, now)

        return await self._changed.change(target, decide, record)
