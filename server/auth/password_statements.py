"""The SQL of passwords: constant statements, built once.

`at` is the present moment, `owner` a user's and `session` a login session's id; `verified_hash`
is the hash that a password was checked against.
"""

from typing import Final

from sqlalchemy import bindparam, select, update

from server.auth.domain import ACTIVE
from server.auth.models import AppUser
from server.auth.models import LoginSession as SessionRow
from server.auth.user_statements import USER
from server.database.names import named

_NOW: Final = bindparam("at", type_=AppUser.create_time.type)
_STILL_VERIFIED = (
    AppUser.user_id == bindparam("owner"),
    AppUser.state == ACTIVE,
    AppUser.password_hash == bindparam("verified_hash"),
)

ACCOUNT_OF = named(
    "users.account",
    select(*USER, AppUser.password_hash).where(AppUser.user_id == bindparam("owner")),
)
REPLACE_HASH = named(
    "users.replace_hash",
    update(AppUser).where(*_STILL_VERIFIED).values(password_hash=bindparam("new_hash")),
)
CHANGE_PASSWORD = named(
    "users.change_password",
    update(AppUser)
    .where(*_STILL_VERIFIED)
    .values(
        password_hash=bindparam("new_hash"),
        password_change_time=_NOW,
        update_time=_NOW,
        revision=AppUser.revision + 1,
    ),
)
OTHER_SESSIONS = named(
    "login_sessions.others",
    select(SessionRow.session_id).where(
        SessionRow.user_id == bindparam("owner"),
        SessionRow.session_id != bindparam("session"),
        SessionRow.revoke_time.is_(None),
    ),
)
REVOKE_OTHERS = named(
    "login_sessions.revoke_others",
    update(SessionRow)
    .where(
        SessionRow.user_id == bindparam("owner"),
        SessionRow.session_id != bindparam("session"),
        SessionRow.revoke_time.is_(None),
    )
    .values(revoke_time=_NOW),
)
