"""The SQL of API keys: constant statements, built once.

`owner` is a user's and `key` an API key's id, `at` the present moment.
"""

from typing import Final

from sqlalchemy import bindparam, delete, func, insert, or_, select, tuple_, update

from server.auth.domain import ACTIVE
from server.auth.models import ApiKey as KeyRow
from server.auth.models import AppUser
from server.auth.user_statements import USER
from server.database.names import named

_NOW: Final = bindparam("at", type_=KeyRow.last_use_time.type)
_OF_OWNER = KeyRow.user_id == bindparam("owner")
_IS_THERE = KeyRow.delete_time.is_(None)

_KEY: Final = (
    KeyRow.key_id,
    KeyRow.display_name.label("key_display_name"),
    KeyRow.scopes,
    KeyRow.hint,
    KeyRow.create_time.label("key_create_time"),
    KeyRow.expire_time,
    KeyRow.last_use_time,
)

IN_USE = named(
    "api_keys.find",
    select(*USER, *_KEY)
    .join_from(KeyRow, AppUser, AppUser.user_id == KeyRow.user_id)
    .where(KeyRow.secret_hash == bindparam("hash"), _IS_THERE, AppUser.state == ACTIVE),
)
HOLDER = named("api_keys.holder", select(*USER).where(AppUser.user_id == bindparam("owner")))
LOCKED_HOLDER = HOLDER.with_for_update(of=AppUser, key_share=True)
"""Holds the user against changes until the transaction ends; on SQLite nobody else writes."""
COUNT = named(
    "api_keys.count",
    select(
        func.count().filter(_IS_THERE).label("keys"),
        func.count().filter(KeyRow.key_id == bindparam("key")).label("same"),
    ).where(_OF_OWNER),
)
_LIST = (
    select(*USER, *_KEY)
    .join_from(KeyRow, AppUser, AppUser.user_id == KeyRow.user_id)
    .where(_OF_OWNER, _IS_THERE)
    .order_by(KeyRow.create_time.desc(), KeyRow.key_id.desc())
    .limit(bindparam("size"))
)
FIRST_PAGE = named("api_keys.list", _LIST)
NEXT_PAGE = named(
    "api_keys.list",
    _LIST.where(
        tuple_(KeyRow.create_time, KeyRow.key_id)
        < tuple_(
            bindparam("after_time", type_=KeyRow.create_time.type),
            bindparam("after_key", type_=KeyRow.key_id.type),
        )
    ),
)

ADD = named("api_keys.add", insert(KeyRow))
REMOVE = named(
    "api_keys.delete",
    update(KeyRow)
    .where(KeyRow.key_id == bindparam("key"), _OF_OWNER, _IS_THERE)
    .values(delete_time=_NOW),
)
FORGET = named(
    "api_keys.forget",
    delete(KeyRow).where(KeyRow.delete_time < bindparam("before", type_=KeyRow.delete_time.type)),
)
NOTE_USE = named(
    "api_keys.note_use",
    update(KeyRow)
    .where(
        KeyRow.key_id == bindparam("key"),
        or_(KeyRow.last_use_time.is_(None), KeyRow.last_use_time < _NOW),
    )
    .values(last_use_time=_NOW),
)
