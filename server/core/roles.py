"""Which role grants which permission: the one table, closed and known at start.

A permission is named `resource.verb`; `.own` behind it limits it to resources that belong
to the caller.
"""

_SELF = frozenset(
    {
        "users.read.own",
        "users.write.own",
        "users.sessions.read.own",
        "users.sessions.revoke.own",
        "apiKeys.read.own",
        "apiKeys.write.own",
    }
)
"""What everybody with a role may do to the own account."""

_VIEWER = _SELF | {"films.read", "films.watch", "agent.chat"}
_CUSTOMER = _VIEWER | {
    "rentals.read.own",
    "rentals.create.own",
    "customers.read.own",
    "subscriptions.read.own",
    "subscriptions.write.own",
    "sessions.read.own",
    "sessions.control.own",
    "sessions.delete.own",
}
_STAFF = _VIEWER | {
    "customers.read",
    "customers.write",
    "rentals.read",
    "rentals.create",
    "rentals.return",
    "rentals.void",
    "inventory.read",
    "inventory.write",
    "subscriptions.read",
    "subscriptions.write",
    "sessions.read.own",
    "sessions.control.own",
    "sessions.delete.own",
}
_MANAGER = _STAFF | {
    "films.write",
    "films.delete",
    "films.import",
    "films.export",
    "taxonomy.write",
    "agent.summarize",
    "agent.approve",
}
_ADMIN = (
    _MANAGER
    | frozenset(permission.removesuffix(".own") for permission in _CUSTOMER | _STAFF)
    | {
        "users.read",
        "users.write",
        "users.roles.write",
        "users.sessions.read",
        "users.sessions.revoke",
        "apiKeys.read",
        "apiKeys.write",
    }
)

ROLES: dict[str, frozenset[str]] = {
    "viewer": _VIEWER,
    "customer": _CUSTOMER,
    "staff": _STAFF,
    "manager": _MANAGER,
    "admin": _ADMIN,
}

PERMISSIONS: frozenset[str] = frozenset().union(*ROLES.values())


def is_permission(name: str) -> bool:
    """Tell whether some role grants it."""
    return name in PERMISSIONS


def permissions_of(roles: tuple[str, ...]) -> frozenset[str]:
    """Return everything the roles grant together; an unknown role grants nothing."""
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))
