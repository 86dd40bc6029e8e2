"""The SQL of what ended and who changed: one constant statement, three short ranges of indexes.

`since` is the moment from which on.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, String, bindparam, literal, select, union_all
from sqlalchemy.orm import InstrumentedAttribute

from server.auth.models import ApiKey, AppUser
from server.auth.models import LoginSession as SessionRow
from server.database.names import named

MAX_ROWS: Final = 10_000
"""The most that one look takes of sessions, of API keys and of users: the newest."""
SESSION: Final = "session"
KEY: Final = "key"
USER: Final = "user"

_SINCE: Final = bindparam("since", type_=AppUser.roles_change_time.type)


def _newest(
    kind: str,
    subject: InstrumentedAttribute[Any],
    time: InstrumentedAttribute[Any],
    state: ColumnElement[Any] | InstrumentedAttribute[Any],
) -> Select[*tuple[Any, ...]]:
    newest = (
        select(
            literal(kind, String).label("kind"),
            subject.label("subject"),
            time.label("time"),
            state.label("state"),
        )
        .where(time >= _SINCE)
        .order_by(time.desc())
        .limit(MAX_ROWS)
    )
    # Wrapped, for SQLite sorts no branch of a union by itself.
    return select(newest.subquery())


CHANGED_SINCE = named(
    "revocations.since",
    union_all(
        _newest(SESSION, SessionRow.session_id, SessionRow.revoke_time, literal("", String)),
        _newest(KEY, ApiKey.key_id, ApiKey.delete_time, literal("", String)),
        _newest(USER, AppUser.user_id, AppUser.roles_change_time, AppUser.state),
    ),
)
