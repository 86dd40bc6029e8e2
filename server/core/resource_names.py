"""Resource names (AIP-122): whose they are, and of which type.

A user's name ends in a UUID, or in an id that was chosen at creation. The UUID of the latter is
made from the id, so that a name can be held against a caller without asking the database.
"""

import re
from typing import Final
from uuid import UUID, uuid5

from server.core.principal import Principal

_USERS: Final = UUID("6d4f5c1e-2f0b-5b57-9c0e-9f5a0a3b7d21")
"""Namespace of the UUIDs of users whose id was chosen."""

USER_PATTERN: Final = "users/([a-z0-9][a-z0-9-]{0,62})"
"""What a user's name looks like; the group is its last segment."""

UUID_PATTERN: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""What the last segment of a login session's or API key's name looks like."""

_NAME = re.compile(
    r"[a-z][A-Za-z]{0,31}/[A-Za-z0-9_-]{1,63}(/[a-z][A-Za-z]{0,31}/[A-Za-z0-9_-]{1,63})*"
)
_MAX_NAME: Final = 256

_USER = re.compile(rf"{USER_PATTERN}(?:/.*)?", re.DOTALL)
_TYPES: Final = {
    "users": "interview-api/User",
    "apiKeys": "interview-api/ApiKey",
    "loginSessions": "interview-api/LoginSession",
}


def user_id_of(segment: str) -> UUID:
    """Return the UUID that the last segment of a user's name stands for."""
    try:
        parsed = UUID(segment)
    except ValueError:
        return uuid5(_USERS, segment)
    return parsed if str(parsed) == segment else uuid5(_USERS, segment)


def owner_of(name: str) -> UUID | None:
    """Return the user that a resource belongs to, None where its name tells of none."""
    match = _USER.fullmatch(name)
    return user_id_of(match[1]) if match else None


def is_resource_name(text: str) -> bool:
    """Tell whether a text has the form of a name: collections and ids in turn."""
    return len(text) <= _MAX_NAME and _NAME.fullmatch(text) is not None


def canonical(name: str) -> str:
    """Return a name with the UUID of its user in place of an id that was chosen."""
    owner = owner_of(name)
    if owner is None:
        return name
    _, _, rest = name.removeprefix("users/").partition("/")
    return f"users/{owner}/{rest}" if rest else f"users/{owner}"


def belongs_to(name: str, principal: Principal) -> bool:
    """Tell whether the resource is the caller, or below the caller."""
    return owner_of(name) == principal.user_id


def resource_type(name: str) -> str:
    """Return the type of a resource, as in google.rpc.ResourceInfo, by its collection."""
    collections = name.split("/")[-2::-2]
    return _TYPES.get(collections[0] if collections else "", "interview-api/Resource")
