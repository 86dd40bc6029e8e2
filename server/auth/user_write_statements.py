"""The SQL of changing users: constant statements, built once.

`owner` is a user's id.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    bindparam,
    column,
    delete,
    func,
    or_,
    select,
    table,
    update,
)

from server.auth.domain import ACTIVE
from server.auth.models import AppUser, AppUserRole
from server.auth.user_rules import ADMIN
from server.auth.user_statements import USER
from server.database.names import named

_OWNER: Final = bindparam("owner", type_=AppUser.user_id.type)

# The row is held by a statement of its own: one that waits for a row sees that row anew, but
# not what it reads beside it, and the roles would be those of before.
HOLD_USER = named(
    "users.hold",
    select(AppUser.user_id).where(AppUser.user_id == _OWNER).with_for_update(key_share=True),
)
USER_OF_ID = named("users.get", select(*USER).where(AppUser.user_id == _OWNER))
HOLD_ADMINS = named(
    "roles.hold_admins",
    select(AppUserRole.user_id)
    .where(AppUserRole.role == ADMIN)
    .order_by(AppUserRole.user_id)
    .with_for_update(),
)
OTHER_ADMIN = named(
    "roles.other_admin",
    select(AppUserRole.user_id)
    .join(AppUser, AppUser.user_id == AppUserRole.user_id)
    .where(AppUserRole.role == ADMIN, AppUser.state == ACTIVE, AppUser.user_id != _OWNER)
    .limit(1),
)
TAKEN = named(
    "users.taken",
    select(AppUser.user_id, AppUser.chosen_id, AppUser.email).where(
        or_(AppUser.email == bindparam("address"), AppUser.user_id == _OWNER)
    ),
)
WRITTEN: Final = (
    "email",
    "display_name",
    "state",
    "update_time",
    "password_change_time",
    "customer_id",
    "staff_id",
    "roles_change_time",
    "delete_time",
    "purge_time",
    "revision",
)
"""Columns of a user that changes set, each to the parameter `new_...`."""
UPDATE_USER = named(
    "users.update",
    update(AppUser)
    .where(AppUser.user_id == _OWNER, AppUser.revision == bindparam("seen_revision"))
    .values(
        {
            "password_hash": func.coalesce(
                bindparam("new_hash", type_=AppUser.password_hash.type), AppUser.password_hash
            ),
            **{
                name: bindparam(f"new_{name}", type_=AppUser.__table__.c[name].type)
                for name in WRITTEN
            },
        }
    ),
)
REMOVE_ROLE = named(
    "roles.remove",
    delete(AppUserRole).where(
        AppUserRole.user_id == _OWNER, AppUserRole.role == bindparam("unwanted")
    ),
)


def _has(tables: str, key: str) -> ColumnElement[int]:
    return table(tables, column(key, Integer)).c[key]


# The tables belong to the rental shop; of them nothing but the keys is known here.
_CUSTOMER, _STAFF = _has("customer", "customer_id"), _has("staff", "staff_id")
_NUMBER = bindparam("number", type_=BigInteger)
CUSTOMER = named("customers.exists", select(_CUSTOMER).where(_CUSTOMER == _NUMBER))
STAFF = named("staff.exists", select(_STAFF).where(_STAFF == _NUMBER))
