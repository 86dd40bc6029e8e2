"""Giving users roles and taking them away."""

from dataclasses import replace
from datetime import datetime

from server.auth.domain import ACTIVE, SUSPENDED, User
from server.auth.user_rules import (
    ADMIN,
    ChangedUsers,
    Present,
    Target,
    alive,
    matched,
    outdated,
    spare,
)
from server.core.audit import AuditRecord


class RoleChanges:
    """Grants and revokes roles, which must be known ones."""

    def __init__(self, changed: ChangedUsers) -> None:
        self._changed = changed

    async def grant(self, target: Target, role: str, record: AuditRecord) -> User:
        """Give a user a role; one that it has already stays.

        Raises:
            ResourceNotFound: there is no such user.
            DomainError: RESOURCE_DELETED, ETAG_MISMATCH.
        """

        def decide(present: Present, now: datetime) -> User | None:
            user = alive(present.user)
            if role in user.roles:
                return None
            matched(target, user)
            roles = tuple(sorted({*user.roles, role}))
            return outdated(replace(user, roles=roles), now)

        return await self._changed.change(target, decide, record)

    async def revoke(self, target: Target, role: str, record: AuditRecord) -> User:
        """Take a role from a user; one that it has not stays away.

        Raises:
            ResourceNotFound: there is no such user.
            WrongState: the last active administrator keeps that role.
            DomainError: RESOURCE_DELETED, ETAG_MISMATCH.
        """

        def decide(present: Present, now: datetime) -> User | None:
            user = alive(present.user)
            if role not in user.roles:
                return None
            matched(target, user)
            if role == ADMIN:
                spare(present, (ACTIVE, SUSPENDED))
            roles = tuple(kept for kept in user.roles if kept != role)
            return outdated(replace(user, roles=roles), now)

        return await self._changed.change(target, decide, record, spares_admin=role == ADMIN)
