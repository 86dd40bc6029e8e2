"""What a caller may do, and with which resources."""

from collections.abc import Sequence

from server.core.principal import Principal
from server.core.resource_names import belongs_to


def permissions_for(
    principal: Principal, resource: str, permissions: Sequence[str]
) -> Sequence[str]:
    """Return those of the permissions that the caller has for the resource; "" for none.

    What somebody may do with every resource, they may do with their own: `films.read` is also
    `films.read.own`. The other way round only where the resource is theirs.
    """
    return [permission for permission in permissions if _has(principal, resource, permission)]


def _has(principal: Principal, resource: str, permission: str) -> bool:
    everybodys = permission.removesuffix(".own")
    if principal.may(everybodys):
        return True
    own = bool(resource) and belongs_to(resource, principal)
    if permission == everybodys:
        return own and principal.may_own(everybodys)
    # Asked for what is one's own, which the named resource must not contradict.
    return (own or not resource) and principal.may(permission)
