"""The methods of UserService that are about API keys."""

from google.protobuf.empty_pb2 import Empty

from server.generated.interview.auth.v1 import user_service_pb2
from server.rpc.call import Call


class ApiKeyMethods:
    """The methods of UserService that are about API keys."""

    async def CreateApiKey(
        self, request: user_service_pb2.CreateApiKeyRequest, call: Call
    ) -> user_service_pb2.CreateApiKeyResponse:
        """."""
        raise NotImplementedError

    async def ListApiKeys(
        self, request: user_service_pb2.ListApiKeysRequest, call: Call
    ) -> user_service_pb2.ListApiKeysResponse:
        """."""
        raise NotImplementedError

    async def DeleteApiKey(
        self, request: user_service_pb2.DeleteApiKeyRequest, call: Call
    ) -> Empty:
        """."""
        raise NotImplementedError
