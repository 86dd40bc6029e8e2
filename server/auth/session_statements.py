"""The SQL of login sessions and refresh tokens: constant statements, built once.

`at` is the present moment, `owner` a user's and `session` a login session's id; `hash` is a refresh
token's, by which it is kept.
"""

from typing import Final

from sqlalchemy import (
    Integer,
    Uuid,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from server.auth.domain import ACTIVE
from server.auth.models import AppUser
from server.auth.models import LoginSession as SessionRow
from server.auth.models import RefreshToken as TokenRow
from server.auth.user_statements import USER
from server.database.names import named

_NOW: Final = bindparam("at", type_=AppUser.create_time.type)
_BEFORE: Final = bindparam("before", type_=AppUser.create_time.type)

SESSION: Final = (
    SessionRow.session_id,
    SessionRow.device_label,
    SessionRow.user_agent,
    SessionRow.ip_address,
    SessionRow.create_time.label("session_create_time"),
    SessionRow.expire_time,
    SessionRow.revoke_time,
    SessionRow.last_refresh_time,
    SessionRow.scopes,
)
_SIGNED_IN = select(*USER, *SESSION).join_from(
    AppUser, SessionRow, SessionRow.user_id == AppUser.user_id
)

USER_BY_ID = named(
    "users.of_credential", select(*USER).where(AppUser.user_id == bindparam("owner"))
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
    .add_columns(TokenRow.use_time, TokenRow.use_request_id, TokenRow.parent_hash)
    .where(TokenRow.token_hash == bindparam("hash")),
)
LOCK_SESSION = named(
    "login_sessions.lock",
    select(SessionRow.session_id)
    .join(TokenRow, TokenRow.session_id == SessionRow.session_id)
    .where(TokenRow.token_hash == bindparam("hash"))
    .with_for_update(of=SessionRow, key_share=True),
)
SESSIONS_OF_USER = named(
    "login_sessions.list",
    select(*SESSION, SessionRow.user_id)
    .where(
        SessionRow.user_id == bindparam("owner"),
        SessionRow.revoke_time.is_(None),
        SessionRow.expire_time > _NOW,
        or_(
            SessionRow.create_time < _BEFORE,
            and_(
                SessionRow.create_time == _BEFORE,
                SessionRow.session_id < bindparam("before_session", type_=Uuid()),
            ),
        ),
    )
    .order_by(SessionRow.create_time.desc(), SessionRow.session_id.desc())
    .limit(bindparam("limit", type_=Integer())),
)
SUCCESSORS = named(
    "refresh_tokens.successors",
    select(func.count().label("number"), func.count(TokenRow.use_time).label("used")).where(
        TokenRow.parent_hash == bindparam("hash")
    ),
)

ADD_SESSION = named("login_sessions.add", insert(SessionRow))
ADD_TOKEN = named("refresh_tokens.add", insert(TokenRow))
# Named by itself, so that its number tells how many answers were given anew.
REPEAT_TOKEN = named("refresh_tokens.repeat", insert(TokenRow))

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
    .values(use_time=_NOW, use_request_id=bindparam("request", type_=Uuid())),
)
USE_SIBLINGS = named(
    "refresh_tokens.use_siblings",
    update(TokenRow)
    .where(TokenRow.parent_hash == bindparam("parent"), TokenRow.use_time.is_(None))
    .values(use_time=_NOW),
)
NOTE_REFRESH = named(
    "login_sessions.note_refresh",
    update(SessionRow)
    .where(SessionRow.session_id == bindparam("session"))
    .values(last_refresh_time=_NOW),
)
REVOKE_SESSION = named(
    "login_sessions.revoke",
    update(SessionRow)
    .where(
        SessionRow.session_id == bindparam("session"),
        SessionRow.user_id == bindparam("owner"),
        SessionRow.revoke_time.is_(None),
    )
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
