"""Users, their roles and their API keys."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from .calls import Calls
from .generated.google.protobuf import FieldMask
from .generated.interview.auth.v1 import (
    ApiKey,
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    CreateUserRequest,
    DeleteApiKeyRequest,
    DeleteUserRequest,
    GetUserRequest,
    GrantRoleRequest,
    ListApiKeysRequest,
    ListRolesRequest,
    ListUsersRequest,
    ReactivateUserRequest,
    RevokeRoleRequest,
    Role,
    SuspendUserRequest,
    UndeleteUserRequest,
    UpdateUserRequest,
    User,
)
from .generated.interview.auth.v1.user_service_stub import UserServiceStub
from .generated.methods import UserService as Methods
from .names import role_name, user_name
from .paging import Page, PageIterator


class Users:
    """Calls about users. Each raises InterviewError; `timeout` is in seconds.

    A user is named by its resource name, "users/ada", or by the last segment of it. With an
    `etag`, a user that has changed since it was read raises EtagMismatch.
    """

    def __init__(self, calls: Calls) -> None:
        stub = UserServiceStub(calls.channel)
        self._create = calls.named(stub.create_user, Methods.CREATE_USER)
        self._get = calls.unary(stub.get_user, Methods.GET_USER)
        self._list = calls.unary(stub.list_users, Methods.LIST_USERS)
        self._update = calls.unary(stub.update_user, Methods.UPDATE_USER)
        self._delete = calls.unary(stub.delete_user, Methods.DELETE_USER)
        self._undelete = calls.unary(stub.undelete_user, Methods.UNDELETE_USER)
        self._suspend = calls.unary(stub.suspend_user, Methods.SUSPEND_USER)
        self._reactivate = calls.unary(stub.reactivate_user, Methods.REACTIVATE_USER)
        self._grant_role = calls.unary(stub.grant_role, Methods.GRANT_ROLE)
        self._revoke_role = calls.unary(stub.revoke_role, Methods.REVOKE_ROLE)
        self._list_roles = calls.unary(stub.list_roles, Methods.LIST_ROLES)
        self._create_api_key = calls.unary(stub.create_api_key, Methods.CREATE_API_KEY)
        self._list_api_keys = calls.unary(stub.list_api_keys, Methods.LIST_API_KEYS)
        self._delete_api_key = calls.unary(stub.delete_api_key, Methods.DELETE_API_KEY)

    async def create_user(  # the fields of the request, by keyword
        self,
        user: User,
        *,
        user_id: str = "",
        initial_password: str = "",
        roles: Sequence[str] = (),
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> User:
        """Create a user and return it. Raises AlreadyExists, PasswordRefused.

        Send the same `request_id`, a UUID, to repeat a call whose answer was lost.
        """
        request = CreateUserRequest(
            user=user,
            user_id=user_id,
            initial_password=initial_password,
            roles=[role_name(role) for role in roles],
            request_id=request_id or str(uuid4()),
            validate_only=validate_only,
        )
        return await self._create(request, timeout)

    async def get_user(self, user: str, *, timeout: float | None = None) -> User:
        """Return a user, a deleted one too. Raises NotFound."""
        return await self._get(GetUserRequest(name=user_name(user)), timeout)

    def list_users(
        self,
        *,
        filter: str = "",  # noqa: A002  # the field's name in the API
        order_by: str = "",
        page_size: int = 0,
        show_deleted: bool = False,
        timeout: float | None = None,
    ) -> PageIterator[User]:
        """Return the users that meet the filter, in order; `timeout` is for each page."""

        async def fetch(token: str) -> Page[User]:
            request = ListUsersRequest(
                page_size=page_size,
                page_token=token,
                filter=filter,
                order_by=order_by,
                show_deleted=show_deleted,
            )
            response = await self._list(request, timeout)
            return Page(response.users, response.next_page_token)

        return PageIterator(fetch)

    async def update_user(
        self, user: User, update_mask: Sequence[str] = (), *, timeout: float | None = None
    ) -> User:
        """Change the fields that the mask names, without one those that are not empty.

        Raises EtagMismatch when `user.etag` is not the present one.
        """
        mask = FieldMask(paths=list(update_mask)) if update_mask else None
        return await self._update(UpdateUserRequest(user=user, update_mask=mask), timeout)

    async def delete_user(self, user: str, *, etag: str = "", timeout: float | None = None) -> User:
        """Delete a user; for 30 days that can be undone. Raises StepUpRequired."""
        return await self._delete(DeleteUserRequest(name=user_name(user), etag=etag), timeout)

    async def undelete_user(
        self, user: str, *, etag: str = "", timeout: float | None = None
    ) -> User:
        """Take a deletion back."""
        return await self._undelete(UndeleteUserRequest(name=user_name(user), etag=etag), timeout)

    async def suspend_user(
        self, user: str, *, reason: str = "", etag: str = "", timeout: float | None = None
    ) -> User:
        """Bar a user; `reason` goes into the audit trail."""
        request = SuspendUserRequest(name=user_name(user), etag=etag, reason=reason)
        return await self._suspend(request, timeout)

    async def reactivate_user(
        self, user: str, *, etag: str = "", timeout: float | None = None
    ) -> User:
        """Let a suspended user sign in again."""
        request = ReactivateUserRequest(name=user_name(user), etag=etag)
        return await self._reactivate(request, timeout)

    async def grant_role(
        self, user: str, role: str, *, etag: str = "", timeout: float | None = None
    ) -> User:
        """Give a user a role, "roles/viewer" or "viewer". Raises StepUpRequired."""
        request = GrantRoleRequest(name=user_name(user), role=role_name(role), etag=etag)
        return await self._grant_role(request, timeout)

    async def revoke_role(
        self, user: str, role: str, *, etag: str = "", timeout: float | None = None
    ) -> User:
        """Take a role from a user. Raises StepUpRequired."""
        request = RevokeRoleRequest(name=user_name(user), role=role_name(role), etag=etag)
        return await self._revoke_role(request, timeout)

    def list_roles(self, *, timeout: float | None = None) -> PageIterator[Role]:
        """Return the roles and what they permit."""

        async def fetch(token: str) -> Page[Role]:
            response = await self._list_roles(ListRolesRequest(page_token=token), timeout)
            return Page(response.roles, response.next_page_token)

        return PageIterator(fetch)

    async def create_api_key(
        self,
        user: str,
        display_name: str,
        *,
        scopes: Sequence[str] = (),
        expire_time: datetime | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> CreateApiKeyResponse:
        """Make an API key. `secret` of the answer is shown nowhere else, ever."""
        key = ApiKey(display_name=display_name, scopes=list(scopes), expire_time=expire_time)
        request = CreateApiKeyRequest(
            parent=user_name(user), api_key=key, request_id=request_id or str(uuid4())
        )
        return await self._create_api_key(request, timeout)

    def list_api_keys(
        self, user: str, *, page_size: int = 0, timeout: float | None = None
    ) -> PageIterator[ApiKey]:
        """Return a user's API keys, the newest first."""

        async def fetch(token: str) -> Page[ApiKey]:
            request = ListApiKeysRequest(
                parent=user_name(user), page_size=page_size, page_token=token
            )
            response = await self._list_api_keys(request, timeout)
            return Page(response.api_keys, response.next_page_token)

        return PageIterator(fetch)

    async def delete_api_key(self, name: str, *, timeout: float | None = None) -> None:
        """End an API key, "users/{user}/apiKeys/{api_key}". Raises NotFound."""
        await self._delete_api_key(DeleteApiKeyRequest(name=name), timeout)
