"""The SQL of login sessions and refresh tokens: constant statements, built once.

`at` is the present moment, `owner` a user's and `session` a login session's id.
"""

from typing import Final

from sqlalchemy import bindparam, exists, insert, select, update

from server.auth.domain import ACTIVE
from server.auth.models import AppUser
from server.auth.models import LoginSession as SessionRow
from server.auth.models import RefreshToken as TokenRow
from server.auth.user_statements import USER
from server.database.names import named

_NOW: Final = bindparam("at", type_=AppUser.create_time.type)

SESSION: Final = (
    SessionRow.session_id,
    SessionRow.device_label,
    SessionRow.user_agent,
    SessionRow.ip_address,
    SessionRow.create_time.label("session_create_time"),
    SessionRow.expire_time,
    SessionRow.revoke_time,
)
_SIGNED_IN = select(*USER, *SESSION).join_from(
    AppUser, SessionRow, SessionRow.user_id == AppUser.user_id
)

SESSION_OF_USER = named(
    "login_sessions.get",
    _SIGNED_IN.where(
        SessionRow.session_id == bindparam("session"), AppUser.user_id == bindparam("owner")
    ),
)
SESSION_OF_TOKEN = named(
    "login_sessions.of_token",
    _SIGNED_IN.join(TokenRow, TokenRow.session_id == SessionRow.session_id)
    .add_columns(TokenRow.use_time)
    .where(TokenRow.token_hash == bindparam("hash")),
)

ADD_SESSION = named("login_sessions.add", insert(SessionRow))
ADD_TOKEN = named("refresh_tokens.add", insert(TokenRow))

NOTE_LOGIN = named(
    "users.note_login",
    update(AppUser)
    .where(
        AppUser.user_id == bindparam("owner"),
        AppUser.state == ACTIVE,
        AppUser.password_hash == bindparam("verified_hash"),
    )
    .values(last_login_time=_NOW),
)
USE_TOKEN = named(
    "refresh_tokens.use",
    update(TokenRow)
    .where(
        TokenRow.token_hash == bindparam("hash"),
        TokenRow.use_time.is_(None),
        TokenRow.expire_time > _NOW,
        exists().where(
            SessionRow.session_id == TokenRow.session_id,
            SessionRow.revoke_time.is_(None),
            SessionRow.expire_time > _NOW,
            AppUser.user_id == SessionRow.user_id,
            AppUser.state == ACTIVE,
        ),
    )
    .values(use_time=_NOW),
)
NOTE_REFRESH = named(
    "login_sessions.note_refresh",
    update(SessionRow)
    .where(SessionRow.session_id == bindparam("session"), SessionRow.revoke_time.is_(None))
    .values(last_refresh_time=_NOW),
)
REVOKE_SESSION = named(
    "login_sessions.revoke",
    update(SessionRow)
    .where(SessionRow.session_id == bindparam("session"), SessionRow.revoke_time.is_(None))
    .values(revoke_time=_NOW),
)
REVOKE_SESSIONS = named(
    "login_sessions.revoke_all",
    update(SessionRow)
    .where(SessionRow.user_id == bindparam("owner"), SessionRow.revoke_time.is_(None))
    .values(revoke_time=_NOW),
)
REVOKED_AT = named(
    "login_sessions.revoked_at",
    select(SessionRow.session_id).where(
        SessionRow.user_id == bindparam("owner"), SessionRow.revoke_time == _NOW
    ),
)
