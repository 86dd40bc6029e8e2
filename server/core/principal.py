"""Who is calling."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

FOREVER: Final = datetime.max.replace(tzinfo=UTC)
"""When a credential ends that does not."""


class CredentialKind(StrEnum):
    """How a caller proves who it is."""

    ACCESS_TOKEN = "access_token"  # noqa: S105  # the name of a kind, not a secret
    API_KEY = "api_key"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    `session_id` is the login session's id or the API key's, by `kind`. `permissions` is what the
    roles grant within the credential's scopes; `auth_time` is when the password was given, for
    an API key when it was made; `issue_time` is when the credential was made, or the API key was
    looked up, and `expire_time` when it ends. `roles_time` is the user's last change of roles or
    state that it knows of, None where it knows of none.
    """

    user_id: UUID
    session_id: UUID
    roles: tuple[str, ...]
    permissions: frozenset[str]
    auth_time: datetime
    expire_time: datetime
    token_id: str = field(default="", compare=False)
    kind: CredentialKind = CredentialKind.ACCESS_TOKEN
    issue_time: datetime | None = field(default=None, compare=False)
    roles_time: datetime | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The user's resource name, `users/{uuid}`."""
        return f"users/{self.user_id}"

    @property
    def credential(self) -> str:
        """The resource name of the login session or API key."""
        kind = "apiKeys" if self.kind is CredentialKind.API_KEY else "loginSessions"
        return f"{self.name}/{kind}/{self.session_id}"

    def may(self, permission: str) -> bool:
        """Tell whether one of the caller's roles grants the permission."""
        return permission in self.permissions

    def may_own(self, permission: str) -> bool:
        """Tell whether it is granted for resources of the caller's own."""
        return permission in self.permissions or f"{permission}.own" in self.permissions
