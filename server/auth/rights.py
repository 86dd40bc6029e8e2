"""What a caller may do, and with which resources."""

from collections.abc import Sequence

from server.core.principal import Principal
from server.core.resource_names import belongs_to


def permissions_for(
    principal: Principal, resource: str, permissions: Sequence[str]
) -> Sequence[str]:
    """Return those of the permissions that the caller has for the resource; "" for none."""
    own = bool(resource) and belongs_to(resource, principal)
    return [
        permission
        for permission in permissions
        if (principal.may_own(permission) if own else principal.may(permission))
    ]
