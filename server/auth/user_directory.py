"""Who there is, for those who may look: users and roles."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from server.auth.domain import USER_TYPE, User
from server.core.clock import Clock
from server.core.errors import ResourceNotFound
from server.core.paging import Page, PageRequest, cut_page
from server.core.resource_names import user_id_of
from server.core.roles import ROLES
from server.query.filters import Fields, Filter, OrderTerm, parse_filter, parse_order_by


@dataclass(frozen=True, slots=True)
class Role:
    """A set of permissions, in alphabetical order."""

    role_id: str
    display_name: str
    permissions: tuple[str, ...]


_ROLES: Final = tuple(
    Role(role_id, role_id.capitalize(), tuple(sorted(ROLES[role_id]))) for role_id in sorted(ROLES)
)


class UserReads(Protocol):
    """What the directory needs of a database. Users whose purge is due are gone."""

    async def user(self, user_id: UUID, now: datetime) -> User | None:
        """Return one user, a deleted one too."""

    async def list_users(
        self,
        page: PageRequest,
        where: Filter | None,
        order: Sequence[OrderTerm],
        *,
        show_deleted: bool,
        now: datetime,
    ) -> Page[User]:
        """Return a page of the users that meet the filter, in the order and then by address."""


class UserDirectory:
    """Finds users and roles."""

    def __init__(self, reads: UserReads, fields: Fields, clock: Clock) -> None:
        self._reads = reads
        self._fields = fields
        self._clock = clock

    async def get_user(self, name: str) -> User:
        """Return the user with this resource name, a deleted one too.

        Raises:
            ResourceNotFound: there is none, or it is purged.
        """
        user_id = user_id_of(name.removeprefix("users/"))
        user = await self._reads.user(user_id, self._clock())
        if user is None:
            raise ResourceNotFound(USER_TYPE, name)
        return user

    async def list_users(
        self, page: PageRequest, *, where: str = "", order_by: str = "", show_deleted: bool = False
    ) -> Page[User]:
        """Return a page of the users that meet a filter (AIP-160) in an order (AIP-132).

        Raises:
            DomainError: FILTER_* or ORDER_BY_INVALID, with the position and what is allowed.
        """
        now = self._clock()
        condition = parse_filter(where, self._fields, page.time or now)
        order = parse_order_by(order_by, self._fields)
        return await self._reads.list_users(
            page, condition, order, show_deleted=show_deleted, now=now
        )

    def list_roles(self, page: PageRequest) -> Page[Role]:
        """Return a page of the roles, in alphabetical order."""
        after = str(page.after[0]) if page.after else ""
        rest = [role for role in _ROLES if role.role_id > after]
        return cut_page(rest[: page.size + 1], page, lambda role: (role.role_id,))
