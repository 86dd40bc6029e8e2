"""The SQL of what ended and who changed: one constant statement, two short ranges of indexes.

`since` is the moment from which on.
"""

from typing import Any, Final

from sqlalchemy import Select, String, bindparam, literal, select, union_all

from server.auth.models import AppUser
from server.auth.models import LoginSession as SessionRow
from server.database.names import named

MAX_ROWS: Final = 10_000
"""The most that one look takes of sessions, and of users: the newest."""

_SINCE: Final = bindparam("since", type_=AppUser.roles_change_time.type)


def _newest(branch: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    # Wrapped, for SQLite sorts no branch of a union by itself.
    return select(branch.limit(MAX_ROWS).subquery())


CHANGED_SINCE = named(
    "revocations.since",
    union_all(
        _newest(
            select(
                SessionRow.session_id.label("subject"),
                SessionRow.revoke_time.label("time"),
                literal("", String).label("state"),
            )
            .where(SessionRow.revoke_time >= _SINCE)
            .order_by(SessionRow.revoke_time.desc())
        ),
        _newest(
            select(AppUser.user_id, AppUser.roles_change_time, AppUser.state)
            .where(AppUser.roles_change_time >= _SINCE)
            .order_by(AppUser.roles_change_time.desc())
        ),
    ),
)
