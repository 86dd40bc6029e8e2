"""Users and roles between the domain and the contract."""

from typing import Final

from server.auth.domain import ACTIVE, DELETED, SUSPENDED, User
from server.auth.user_directory import Role
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.rpc.well_known import timestamp

_STATES: Final = {
    ACTIVE: resources.USER_STATE_ACTIVE,
    SUSPENDED: resources.USER_STATE_SUSPENDED,
    DELETED: resources.USER_STATE_DELETED,
}


def user_message(user: User) -> resources.User:
    """Write a User."""
    return resources.User(
        name=user.name,
        email=user.email,
        display_name=user.display_name,
        roles=[f"roles/{role}" for role in user.roles],
        state=_STATES[user.state],
        customer=f"customers/{user.customer_id}" if user.customer_id else "",
        staff=f"staff/{user.staff_id}" if user.staff_id else "",
        create_time=timestamp(user.create_time),
        update_time=timestamp(user.update_time),
        last_login_time=timestamp(user.last_login_time) if user.last_login_time else None,
        password_change_time=(timestamp(user.password_change_time) if user.has_password else None),
        delete_time=timestamp(user.delete_time) if user.delete_time else None,
        purge_time=timestamp(user.purge_time) if user.purge_time else None,
        etag=user.etag,
    )


def role_message(role: Role) -> resources.Role:
    """Write a Role."""
    return resources.Role(
        name=f"roles/{role.role_id}",
        display_name=role.display_name,
        permissions=role.permissions,
    )
