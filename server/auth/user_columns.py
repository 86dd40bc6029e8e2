"""Where the fields of a user are found in the database, for filters and orders."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, func

from server.auth.domain import User, folded_email
from server.auth.models import AppUser, AppUserRole
from server.query.filter_sql import (
    FilterColumns,
    RelatedColumn,
    ScalarColumn,
    by_bytes,
    contains,
)
from server.query.filter_types import OrderTerm, Value
from server.query.keyset import KeysetOrder, OrderField, time_field

_USER: Final = AppUser.__table__.c
# By an alias: under its own name it would be taken for a table of the outer SELECT.
_ROLE: Final = AppUserRole.__table__.alias("held_role")
_DISPLAY_NAME: Final = func.nullif(_USER.display_name, "", type_=_USER.display_name.type)
"""An empty name is none, as in the contract."""


def _folded(value: Value) -> Value:
    return folded_email(str(value))


def _stored_state(value: Value) -> Value:
    return str(value).lower()


def _has_word(word: str) -> ColumnElement[bool]:
    return contains(_DISPLAY_NAME, word)


USER_COLUMNS: Final = FilterColumns(
    fields={
        "email": ScalarColumn(_USER.email, _folded),
        "display_name": ScalarColumn(_DISPLAY_NAME),
        "roles": RelatedColumn(_ROLE.c.role, _ROLE, _ROLE.c.user_id, _USER.user_id),
        "state": ScalarColumn(_USER.state, _stored_state),
        "create_time": ScalarColumn(_USER.create_time),
        "last_login_time": ScalarColumn(_USER.last_login_time),
    },
    has_term=_has_word,
)
"""The columns for conditions on a SELECT from `app_user`, under its own name."""

_ORDER: Final[Mapping[str, OrderField[User]]] = {
    "email": OrderField(by_bytes(_USER.email), lambda user: user.email),
    "display_name": OrderField(
        by_bytes(_DISPLAY_NAME), lambda user: user.display_name or None, nullable=True
    ),
    "create_time": time_field(_USER.create_time, lambda user: user.create_time),
    "last_login_time": time_field(
        _USER.last_login_time, lambda user: user.last_login_time, nullable=True
    ),
}


def user_order(terms: Sequence[OrderTerm]) -> KeysetOrder[User]:
    """Return an order by some fields and then by address, which no two users share."""
    return KeysetOrder(_ORDER, terms, last="email")
