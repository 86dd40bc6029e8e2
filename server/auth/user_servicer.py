"""interview.auth.v1.UserService: map in, ask the domain, map out."""

from server.auth.api_key_servicer import ApiKeyMethods
from server.generated.interview.auth.v1 import resources_pb2, user_service_pb2
from server.rpc.call import Call


class UserServicer(ApiKeyMethods):
    """interview.auth.v1.UserService: map in, ask the domain, map out."""

    async def CreateUser(
        self, request: user_service_pb2.CreateUserRequest, call: Call
    ) -> resources_pb2.User:
        """."""
        raise NotImplementedError

    async def GetUser(
        self, request: user_service_pb2.GetUserRequest, call: Call
    ) -> resources_pb2.User:
        """."""
        raise NotImplementedError

    async def ListUsers(
        self, request: user_service_pb2.ListUsersRequest, call: Call
    ) -> user_service_pb2.ListUsersResponse:
        """."""
        raise NotImplementedError

    async def UpdateUser(
        self, request: user_service_pb2.UpdateUserRequest, call: Call
    ) -> resources_pb2.User:
        """."""
        raise NotImplementedError

    async def DeleteUser(
        self, request: user_service_pb2.DeleteUserRequest, call: Call
    ) -> resources_pb2.User:
        """."""
        raise NotImplementedError

    async def UndeleteUser(
        self, request: user_service_pb2.UndeleteUserRequest, call: Call
    ) -> resources_pb2.User:
        """."""
        raise NotImplementedError

    async def SuspendUser(
        self, request: user_service_pb2.SuspendUserRequest, call: Call
    ) -> resources_pb2.User:
        """."""
        raise NotImplementedError

    async def ReactivateUser(
        self, request: user_service_pb2.ReactivateUserRequest, call: Call
    ) -> resources_pb2.User:
        """."""
        raise NotImplementedError

    async def GrantRole(
        self, request: user_service_pb2.GrantRoleRequest, call: Call
    ) -> resources_pb2.User:
        """."""
        raise NotImplementedError

    async def RevokeRole(
        self, request: user_service_pb2.RevokeRoleRequest, call: Call
    ) -> resources_pb2.User:
        """."""
        raise NotImplementedError

    async def ListRoles(
        self, request: user_service_pb2.ListRolesRequest, call: Call
    ) -> user_service_pb2.ListRolesResponse:
        """."""
        raise NotImplementedError
