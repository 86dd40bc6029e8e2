"""All that changes users, joined over one repository."""

from dataclasses import dataclass
from typing import Self

from server.auth.role_changes import RoleChanges
from server.auth.user_changes import PasswordHasher, UserChanges
from server.auth.user_rules import ChangedUsers, Credentials, UserChangeRepository
from server.auth.user_states import UserStates
from server.core.clock import Clock


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of users, by what they change."""

    users: UserChanges
    states: UserStates
    roles: RoleChanges

    @classmethod
    def over(
        cls,
        repository: UserChangeRepository,
        passwords: PasswordHasher,
        credentials: Credentials,
        *,
        clock: Clock,
    ) -> Self:
        """Join them."""
        changed = ChangedUsers(repository, credentials, clock=clock)
        return cls(
            UserChanges(repository, passwords, changed, clock=clock),
            UserStates(changed),
            RoleChanges(changed),
        )
