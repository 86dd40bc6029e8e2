"""Resource names, whole or only their last segment."""

Name = str | int
"""A resource name, `films/17`, or only its number, 17."""


def resource_name(collection: str, name: Name) -> str:
    """Return `films/17` for 17, "17" and "films/17"."""
    text = str(name)
    return text if "/" in text else f"{collection}/{text}"


def user_name(user: str) -> str:
    """Return `users/ada` for "ada" and "users/ada"."""
    return resource_name("users", user)


def role_name(role: str) -> str:
    """Return `roles/viewer` for "viewer" and "roles/viewer"."""
    return resource_name("roles", role)
