"""The methods of UserService that change users: map in, ask the domain, map out."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from server.auth import user_requests as requests
from server.auth.domain import User
from server.auth.user_changes import Rights
from server.auth.user_mapping import user_message
from server.auth.user_parts import Changes
from server.core.clock import Clock
from server.core.idempotency import Replay
from server.core.resource_names import belongs_to
from server.generated.interview.auth.v1 import resources_pb2
from server.generated.interview.auth.v1 import user_service_pb2 as users
from server.rpc.call import Call
from server.rpc.idempotency import RequestIds, replayed
from server.rpc.policy import policy_of, require_recent_password

_METHODS: Final = users.DESCRIPTOR.services_by_name["UserService"].methods_by_name
_CREATE: Final = policy_of(_METHODS["CreateUser"])
_UPDATE: Final = policy_of(_METHODS["UpdateUser"])

GIVE_ROLES: Final = replace(policy_of(_METHODS["GrantRole"]), method=_CREATE.method)
"""Who gives roles at creation must be who may give them later; else that rule were no rule."""

UPDATE_OTHERS: Final = replace(_UPDATE, owner_field="")
"""The part of UpdateUser's rule that the owner of an account does not meet."""

OWN_EMAIL_AUTH_AGE: Final = timedelta(seconds=900)


class UserChangeMethods:
    """Answers the methods of UserService that change users."""

    def __init__(self, changes: Changes, request_ids: RequestIds, clock: Clock) -> None:
        self._changes = changes
        self._request_ids = request_ids
        self._now = clock

    async def CreateUser(self, request: users.CreateUserRequest, call: Call) -> resources_pb2.User:
        """Create a user, once for each request_id."""
        command = requests.create_command(request)
        if command.roles:
            GIVE_ROLES.authorize(call.principal, self._now())
        repeatable = self._request_ids.repeatable(call, request, command.request_id, _kept_answer)
        created = await self._changes.users.create(
            command.new_user, call.audited, repeatable, only_check=request.validate_only
        )
        if isinstance(created, Replay):
            answer = replayed(call, created, resources_pb2.User)
            call.audited.target = answer.name
            return answer
        answer = user_message(created)
        if request.validate_only:
            answer.ClearField("etag")  # there is nothing that it could be the tag of
        return answer

    async def UpdateUser(self, request: users.UpdateUserRequest, call: Call) -> resources_pb2.User:
        """Set fields of a user."""
        target, fields = requests.update_command(request)
        rights = self._rights(call, target.name)
        return user_message(await self._changes.users.update(target, fields, rights, call.audited))

    async def DeleteUser(self, request: users.DeleteUserRequest, call: Call) -> resources_pb2.User:
        """Delete a user for 30 days and then for good."""
        target = requests.target_of(request)
        return user_message(await self._changes.states.delete(target, call.audited))

    async def UndeleteUser(
        self, request: users.UndeleteUserRequest, call: Call
    ) -> resources_pb2.User:
        """Take a deletion back."""
        target = requests.target_of(request)
        return user_message(await self._changes.states.undelete(target, call.audited))

    async def SuspendUser(
        self, request: users.SuspendUserRequest, call: Call
    ) -> resources_pb2.User:
        """Bar a user."""
        target = requests.suspended(request)
        return user_message(await self._changes.states.suspend(target, call.audited))

    async def ReactivateUser(
        self, request: users.ReactivateUserRequest, call: Call
    ) -> resources_pb2.User:
        """Let a barred user sign in again."""
        target = requests.target_of(request)
        return user_message(await self._changes.states.reactivate(target, call.audited))

    async def GrantRole(self, request: users.GrantRoleRequest, call: Call) -> resources_pb2.User:
        """Give a user a role."""
        target, role = requests.role_change(request)
        return user_message(await self._changes.roles.grant(target, role, call.audited))

    async def RevokeRole(self, request: users.RevokeRoleRequest, call: Call) -> resources_pb2.User:
        """Take a role from a user."""
        target, role = requests.role_change(request)
        return user_message(await self._changes.roles.revoke(target, role, call.audited))

    def _rights(self, call: Call, name: str) -> Rights:
        """Return what the caller may do to a user that it was let through to."""
        principal, now = call.principal, self._now()

        def email() -> None:
            # An administrator's own address too: who has a token of it must not get the account.
            if belongs_to(name, principal):
                require_recent_password(principal, OWN_EMAIL_AUTH_AGE, now)

        return Rights(
            references=lambda: UPDATE_OTHERS.authorize(principal, now),
            email=email,
            names_others=principal.may("users.read"),
        )


def _kept_answer(user: User) -> bytes:
    return user_message(user).SerializeToString()
