"""The caller's own account: rights, password, login sessions, and the keys of tokens."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

from collections.abc import Sequence

from .calls import Calls
from .generated.interview.auth.v1 import (
    ChangePasswordRequest,
    GetCurrentPrincipalRequest,
    GetJsonWebKeySetRequest,
    JsonWebKeySet,
    ListLoginSessionsRequest,
    LoginSession,
    Principal,
    RevokeLoginSessionRequest,
    TestPermissionsRequest,
)
from .generated.interview.auth.v1.auth_service_stub import AuthServiceStub
from .generated.methods import AuthService as Methods
from .names import user_name
from .paging import Page, PageIterator


class Account:
    """What callers do with their own account. Each call raises InterviewError."""

    def __init__(self, calls: Calls) -> None:
        stub = AuthServiceStub(calls.channel)
        self._principal = calls.unary(stub.get_current_principal, Methods.GET_CURRENT_PRINCIPAL)
        self._test_permissions = calls.unary(stub.test_permissions, Methods.TEST_PERMISSIONS)
        self._change_password = calls.unary(stub.change_password, Methods.CHANGE_PASSWORD)
        self._get_keys = calls.unary(stub.get_json_web_key_set, Methods.GET_JSON_WEB_KEY_SET)
        self._list_sessions = calls.unary(stub.list_login_sessions, Methods.LIST_LOGIN_SESSIONS)
        self._revoke_session = calls.unary(stub.revoke_login_session, Methods.REVOKE_LOGIN_SESSION)

    async def current_principal(self, *, timeout: float | None = None) -> Principal:
        """Return who the caller is and what it may do."""
        return await self._principal(GetCurrentPrincipalRequest(), timeout)

    async def test_permissions(
        self, permissions: Sequence[str], resource: str = "", *, timeout: float | None = None
    ) -> list[str]:
        """Return those of the permissions that the caller has, for a resource if one is named."""
        request = TestPermissionsRequest(resource=resource, permissions=list(permissions))
        return (await self._test_permissions(request, timeout)).permissions

    async def change_password(
        self,
        current_password: str,
        new_password: str,
        *,
        keep_other_sessions: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Replace the password; the other login sessions end unless they are to go on.

        Raises LoginFailed for a wrong current password, LoginThrottled, and PasswordRefused for
        a new one that breaks a rule.
        """
        request = ChangePasswordRequest(
            current_password=current_password,
            new_password=new_password,
            keep_other_sessions=keep_other_sessions,
        )
        await self._change_password(request, timeout)

    async def get_json_web_key_set(self, *, timeout: float | None = None) -> JsonWebKeySet:
        """Return the keys that verify access tokens, for services that do so by themselves."""
        return await self._get_keys(GetJsonWebKeySetRequest(), timeout)

    def list_login_sessions(
        self, user: str = "", *, page_size: int = 0, timeout: float | None = None
    ) -> PageIterator[LoginSession]:
        """Return a user's login sessions, the newest first; those of the caller by default."""

        async def fetch(token: str) -> Page[LoginSession]:
            parent = user_name(user) if user else await self._own_name(timeout)
            request = ListLoginSessionsRequest(parent=parent, page_size=page_size, page_token=token)
            response = await self._list_sessions(request, timeout)
            return Page(response.login_sessions, response.next_page_token)

        return PageIterator(fetch)

    async def revoke_login_session(self, name: str, *, timeout: float | None = None) -> None:
        """End a login session, "users/{user}/loginSessions/{login_session}". Raises NotFound."""
        await self._revoke_session(RevokeLoginSessionRequest(name=name), timeout)

    async def _own_name(self, timeout: float | None) -> str:
        principal = await self.current_principal(timeout=timeout)
        return principal.user.name if principal.user else ""
