"""Who is calling."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    `permissions` is what the roles grant; `expire_time` is when the credential ends.
    """

    user_id: UUID
    session_id: UUID
    roles: tuple[str, ...]
    permissions: frozenset[str]
    auth_time: datetime
    expire_time: datetime
    token_id: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The user's resource name, `users/{uuid}`."""
        return f"users/{self.user_id}"

    def may(self, permission: str) -> bool:
        """Tell whether one of the caller's roles grants the permission."""
        return permission in self.permissions
