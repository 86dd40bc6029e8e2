"""interview.auth.v1.AuthService: map in, ask the domain, map out."""

from collections.abc import Callable, Sequence

from google.protobuf.empty_pb2 import Empty

from server.auth import key_mapping, mapping, session_requests
from server.auth.keys import SigningKey
from server.auth.password_change import PasswordChange
from server.auth.rights import permissions_for
from server.auth.session_mapping import session_message
from server.auth.sessions import Device, Sessions
from server.auth.sign_in import SignIn
from server.core.paging import PageRequest
from server.generated.interview.auth.v1.auth_service_pb2 import (
    ChangePasswordRequest,
    GetCurrentPrincipalRequest,
    GetJsonWebKeySetRequest,
    JsonWebKeySet,
    ListLoginSessionsRequest,
    ListLoginSessionsResponse,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    Principal,
    RefreshTokenRequest,
    RefreshTokenResponse,
    RevokeLoginSessionRequest,
    TestPermissionsRequest,
    TestPermissionsResponse,
)
from server.query.requests import arguments_of
from server.rpc.call import Call
from server.rpc.page_token import PageTokens


class AuthServicer:
    """Answers AuthService."""

    def __init__(
        self,
        sign_in: SignIn,
        sessions: Sessions,
        public_keys: Callable[[], Sequence[SigningKey]],
        password_change: PasswordChange,
        page_tokens: PageTokens,
    ) -> None:
        self._sign_in = sign_in
        self._sessions = sessions
        self._public_keys = public_keys
        self._password_change = password_change
        self._page_tokens = page_tokens

    async def Login(self, request: LoginRequest, call: Call) -> LoginResponse:
        """Open a login session for an e-mail address and a password."""
        command = mapping.login_command(request)
        device = Device(command.device_label, call.user_agent, call.peer_address)
        login = await self._sign_in.login(
            command.email, command.password, device, call.audited, command.scopes
        )
        return mapping.login_response(login)

    async def RefreshToken(
        self,
        request: RefreshTokenRequest,
        call: Call,
    ) -> RefreshTokenResponse:
        """Exchange a refresh token for a new pair."""
        command = mapping.refresh_command(request)
        tokens = await self._sessions.refresh(
            command.refresh_token, command.request_id, call.audited
        )
        return RefreshTokenResponse(tokens=mapping.token_pair(tokens))

    async def Logout(self, request: LogoutRequest, call: Call) -> Empty:
        """End the caller's login session, or all of them."""
        await self._sessions.logout(call.principal, call.audited, all_sessions=request.all_sessions)
        return Empty()

    async def GetCurrentPrincipal(
        self,
        request: GetCurrentPrincipalRequest,
        call: Call,
    ) -> Principal:
        """Tell the caller who it is and what it may do."""
        user = await self._sessions.current(call.principal)
        return mapping.principal_message(call.principal, user)

    async def TestPermissions(
        self, request: TestPermissionsRequest, call: Call
    ) -> TestPermissionsResponse:
        """Tell which of some permissions the caller has."""
        command = mapping.test_permissions_command(request)
        granted = permissions_for(call.principal, command.resource, command.permissions)
        return TestPermissionsResponse(permissions=granted)

    async def ChangePassword(self, request: ChangePasswordRequest, call: Call) -> Empty:
        """Replace the caller's password."""
        change = mapping.password_change(request, call.peer_address)
        await self._password_change.change(call.principal, change, call.audited)
        return Empty()

    async def GetJsonWebKeySet(self, request: GetJsonWebKeySetRequest, call: Call) -> JsonWebKeySet:
        """Answer the keys that verify access tokens."""
        return key_mapping.json_web_key_set(self._public_keys())

    async def ListLoginSessions(
        self, request: ListLoginSessionsRequest, call: Call
    ) -> ListLoginSessionsResponse:
        """List a user's login sessions."""
        command = session_requests.list_command(request)
        arguments = arguments_of(request)
        after = self._page_tokens.open(call.method, arguments, command.page_token)
        page = PageRequest(command.page_size, after)
        found = await self._sessions.list_sessions(command.parent, page)
        return ListLoginSessionsResponse(
            login_sessions=[session_message(session, call.principal) for session in found.rows],
            next_page_token=self._page_tokens.seal(call.method, arguments, found.next_after),
        )

    async def RevokeLoginSession(self, request: RevokeLoginSessionRequest, call: Call) -> Empty:
        """End one login session."""
        command = session_requests.revoke_command(request)
        await self._sessions.revoke(command.user, command.session_id, call.audited)
        return Empty()
