"""The SQL that deletes what has been kept long enough: constant statements, built once.

Each deletes at most `most` rows that ended up to the moment `at`. Rows that another process holds
are passed by; SQLite, which has one writer, has none.
"""

from typing import Any, Final

from sqlalchemy import Delete, Integer, Select, bindparam, delete, exists, or_, select, tuple_

from server.auth.domain import DELETED
from server.auth.models import AppUser
from server.auth.models import LoginSession as SessionRow
from server.auth.models import RefreshToken as TokenRow
from server.database.idempotency import IdempotentCall
from server.database.names import named

_AT: Final = bindparam("at", type_=AppUser.create_time.type)
_MOST: Final = bindparam("most", type_=Integer())


def _few(rows: Select[*tuple[Any, ...]], table: Any) -> Select[*tuple[Any, ...]]:
    return rows.limit(_MOST).with_for_update(of=table, skip_locked=True)


def _deletion(name: str, table: Any, key: Any, rows: Select[*tuple[Any, ...]]) -> Delete:
    return named(name, delete(table).where(key.in_(_few(rows, table))))


EXPIRED_TOKENS = _deletion(
    "refresh_tokens.delete_expired",
    TokenRow,
    TokenRow.token_hash,
    select(TokenRow.token_hash).where(TokenRow.expire_time <= _AT),
)
# A revoked session's tokens may have long to live; with theirs, the session's own deletion would
# be one of many rows.
TOKENS_OF_REVOKED = _deletion(
    "refresh_tokens.delete_revoked",
    TokenRow,
    TokenRow.token_hash,
    select(TokenRow.token_hash)
    .join(SessionRow, SessionRow.session_id == TokenRow.session_id)
    .where(SessionRow.revoke_time <= _AT),
)
ENDED_SESSIONS = _deletion(
    "login_sessions.delete_ended",
    SessionRow,
    SessionRow.session_id,
    select(SessionRow.session_id).where(
        or_(SessionRow.revoke_time <= _AT, SessionRow.expire_time <= _AT),
        ~exists().where(TokenRow.session_id == SessionRow.session_id),
    ),
)
IDEMPOTENT_CALLS = _deletion(
    "idempotent_calls.delete_old",
    IdempotentCall,
    tuple_(IdempotentCall.user_id, IdempotentCall.method, IdempotentCall.request_id),
    select(IdempotentCall.user_id, IdempotentCall.method, IdempotentCall.request_id).where(
        IdempotentCall.create_time <= _AT
    ),
)
# What belongs to a user goes with the user's row, by its foreign keys.
PURGED_USERS = _deletion(
    "users.purge",
    AppUser,
    AppUser.user_id,
    select(AppUser.user_id).where(AppUser.purge_time <= _AT, AppUser.state == DELETED),
)
