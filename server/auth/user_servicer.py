"""interview.auth.v1.UserService: map in, ask the domain, map out."""

from server.auth.api_key_servicer import ApiKeyMethods
from server.auth.api_keys import ApiKeys
from server.auth.user_change_servicer import UserChangeMethods
from server.auth.user_directory import UserDirectory
from server.auth.user_list_requests import GetUser, ListUsers
from server.auth.user_mapping import role_message, user_message
from server.auth.user_parts import Changes
from server.core.clock import Clock
from server.core.paging import PageRequest
from server.generated.interview.auth.v1 import resources_pb2, user_service_pb2
from server.query.requests import ListRows, arguments_of
from server.rpc.call import Call
from server.rpc.idempotency import RequestIds
from server.rpc.page_token import PageTokens
from server.rpc.validation import validated


class UserServicer(UserChangeMethods, ApiKeyMethods):
    """interview.auth.v1.UserService: map in, ask the domain, map out."""

    def __init__(
        self,
        directory: UserDirectory,
        changes: Changes,
        api_keys: ApiKeys,
        page_tokens: PageTokens,
        request_ids: RequestIds,
        clock: Clock,
    ) -> None:
        UserChangeMethods.__init__(self, changes, request_ids, clock)
        ApiKeyMethods.__init__(self, api_keys, page_tokens, clock)
        self._directory = directory
        self._page_tokens = page_tokens

    async def GetUser(
        self, request: user_service_pb2.GetUserRequest, call: Call
    ) -> resources_pb2.User:
        """Answer one user, a deleted one too."""
        validated(GetUser, {"name": request.name})
        return user_message(await self._directory.get_user(request.name))

    async def ListUsers(
        self, request: user_service_pb2.ListUsersRequest, call: Call
    ) -> user_service_pb2.ListUsersResponse:
        """Answer a page of users."""
        command = validated(
            ListUsers,
            {
                "page_size": request.page_size,
                "page_token": request.page_token,
                "filter": request.filter,
                "order_by": request.order_by,
            },
        )
        arguments = arguments_of(request)
        page = self._page_tokens.page(
            call.method, arguments, command.page_token, size=command.page_size
        )
        found = await self._directory.list_users(
            page,
            where=request.filter,
            order_by=request.order_by,
            show_deleted=request.show_deleted,
        )
        return user_service_pb2.ListUsersResponse(
            users=[user_message(user) for user in found.rows],
            next_page_token=self._page_tokens.seal(
                call.method, arguments, found.next_after, page.time
            ),
        )

    async def ListRoles(
        self, request: user_service_pb2.ListRolesRequest, call: Call
    ) -> user_service_pb2.ListRolesResponse:
        """Answer a page of roles."""
        command = validated(
            ListRows, {"page_size": request.page_size, "page_token": request.page_token}
        )
        after = self._page_tokens.open(call.method, {}, command.page_token)
        found = self._directory.list_roles(PageRequest(command.page_size, after))
        return user_service_pb2.ListRolesResponse(
            roles=[role_message(role) for role in found.rows],
            next_page_token=self._page_tokens.seal(call.method, {}, found.next_after),
        )
