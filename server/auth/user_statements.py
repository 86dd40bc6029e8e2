"""The SQL of users: constant statements, built once."""

from typing import Final

from sqlalchemy import bindparam, func, insert, literal, select

from server.auth.models import AppUser, AppUserRole
from server.database.names import named

_ROLES = (
    select(func.aggregate_strings(AppUserRole.role, ","))
    .where(AppUserRole.user_id == AppUser.user_id)
    .scalar_subquery()
    .label("roles")
)
USER: Final = (
    AppUser.user_id,
    AppUser.email,
    AppUser.display_name,
    _ROLES,
    AppUser.state,
    AppUser.create_time,
    AppUser.update_time,
    AppUser.last_login_time,
    AppUser.password_change_time,
    AppUser.chosen_id,
    AppUser.customer_id,
    AppUser.staff_id,
    AppUser.roles_change_time,
    AppUser.delete_time,
    AppUser.purge_time,
    AppUser.revision,
    (AppUser.password_hash != literal("")).label("has_password"),
)

ACCOUNT = named(
    "users.find", select(*USER, AppUser.password_hash).where(AppUser.email == bindparam("address"))
)
USERS = named("users.list", select(*USER))

ADD_USER = named("users.add", insert(AppUser))
ADD_ROLE = named("roles.add", insert(AppUserRole))
