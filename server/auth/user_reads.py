"""Users in the database, read by whoever may see them all."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, bindparam, or_, select

from server.auth.domain import DELETED, User
from server.auth.models import AppUser
from server.auth.rows import user_of
from server.auth.user_columns import USER_COLUMNS, user_order
from server.auth.user_statements import USER
from server.core.paging import Page, PageRequest, cut_page
from server.database.engine import Database
from server.database.names import named
from server.query.filter_sql import compile_filter
from server.query.filter_types import Filter, OrderTerm

_NOW: Final = bindparam("at", type_=AppUser.purge_time.type)
_KEPT: Final = select(*USER).where(or_(AppUser.purge_time.is_(None), AppUser.purge_time > _NOW))
_ONE: Final = named("users.get", _KEPT.where(AppUser.user_id == bindparam("owner")))
_ALL: Final = named("users.list", _KEPT)
_HERE: Final = named("users.list", _ALL.where(AppUser.state != DELETED))


class UserDirectoryRows:
    """Reads users. Implements UserReads."""

    def __init__(self, database: Database) -> None:
        self._read = database.read

    async def user(self, user_id: UUID, now: datetime) -> User | None:
        """Return one user, a deleted one too."""
        row = await self._read.first(_ONE, {"owner": user_id, "at": now})
        return user_of(row) if row else None

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
        statement = page_statement(page, where, order, show_deleted=show_deleted)
        rows = await self._read.all(statement, {"at": now})
        return cut_page([user_of(row) for row in rows], page, user_order(order).key)


def page_statement(
    page: PageRequest, where: Filter | None, order: Sequence[OrderTerm], *, show_deleted: bool
) -> Select[Any]:
    """Return the SELECT of a page and one row more; `at` is the present moment."""
    ordering = user_order(order)
    statement: Select[Any] = _ALL if show_deleted else _HERE
    if where is not None:
        statement = statement.where(compile_filter(where, USER_COLUMNS))
    if page.after:
        statement = statement.where(ordering.after(page.after))
    return statement.order_by(*ordering.clauses()).limit(page.size + 1)
