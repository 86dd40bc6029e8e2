"""The SQL of attempts to sign in: constant statements, built once. `at` is the present moment."""

from typing import Any, Final

from sqlalchemy import Executable, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from server.auth.models import LoginAttempts, LoginSession
from server.database.names import named

_NOW: Final = bindparam("at", type_=LoginAttempts.next_time.type)
MAX_ADDRESSES: Final = 200
"""Addresses of a user that are looked at; a user with more has the latest ones."""

ADDRESSES = named(
    "login_sessions.addresses",
    select(LoginSession.ip_address)
    .where(
        LoginSession.user_id == bindparam("owner"),
        LoginSession.create_time > bindparam("since", type_=LoginSession.create_time.type),
    )
    .group_by(LoginSession.ip_address)
    .order_by(func.max(LoginSession.create_time).desc())
    .limit(MAX_ADDRESSES),
)
KEEP = named(
    "login_attempts.keep",
    update(LoginAttempts)
    .where(LoginAttempts.subject == bindparam("of"))
    .values(
        failures=bindparam("new_failures"),
        next_time=bindparam("new_next_time"),
        expire_time=bindparam("new_expire_time"),
    ),
)
FORGET = named(
    "login_attempts.forget",
    delete(LoginAttempts).where(
        LoginAttempts.subject.in_(
            select(LoginAttempts.subject)
            .where(LoginAttempts.expire_time <= _NOW)
            .order_by(LoginAttempts.expire_time)
            .limit(bindparam("most"))
            # One that is being counted anew is not to be waited for. SQLite has one writer.
            .with_for_update(skip_locked=True)
        )
    ),
)


def _take(dialect_insert: Any) -> Executable:
    """Return the statement that holds a subject's row until the transaction ends, and answers it.

    To update a row with itself is how both databases hold one that may be new: a row that is only
    looked for cannot be held before it is there.
    """
    row = dialect_insert(LoginAttempts)
    statement: Executable = row.on_conflict_do_update(
        index_elements=[LoginAttempts.subject], set_={"failures": LoginAttempts.failures}
    ).returning(
        LoginAttempts.subject,
        LoginAttempts.failures,
        LoginAttempts.next_time,
        LoginAttempts.expire_time,
    )
    return named("login_attempts.take", statement)


TAKE: Final = {"sqlite": _take(sqlite.insert), "postgresql": _take(postgresql.insert)}
