"""The methods of UserService that are about API keys."""

from google.protobuf.empty_pb2 import Empty

from server.auth.api_key_mapping import created_response, list_response
from server.auth.api_key_requests import key_to_delete, list_command, wanted_key
from server.auth.api_keys import ApiKeys
from server.core.clock import Clock
from server.core.paging import PageRequest
from server.generated.interview.auth.v1.user_service_pb2 import (
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    DeleteApiKeyRequest,
    ListApiKeysRequest,
    ListApiKeysResponse,
)
from server.query.requests import arguments_of
from server.rpc.call import Call
from server.rpc.page_token import PageTokens


class ApiKeyMethods:
    """Answers the methods of UserService that are about API keys."""

    def __init__(self, api_keys: ApiKeys, page_tokens: PageTokens, clock: Clock) -> None:
        self._api_keys = api_keys
        self._key_pages = page_tokens
        self._clock = clock

    async def CreateApiKey(self, request: CreateApiKeyRequest, call: Call) -> CreateApiKeyResponse:
        """Make an API key; the answer is the only place with its secret."""
        call.audited.target = request.parent
        wanted = wanted_key(request, self._clock())
        return created_response(await self._api_keys.create(call.principal, wanted, call.audited))

    async def ListApiKeys(self, request: ListApiKeysRequest, call: Call) -> ListApiKeysResponse:
        """Answer a page of a user's API keys."""
        command = list_command(request)
        arguments = arguments_of(request)
        after = self._key_pages.open(call.method, arguments, command.page_token)
        found = await self._api_keys.list_keys(
            command.parent, PageRequest(command.page_size, after)
        )
        token = self._key_pages.seal(call.method, arguments, found.next_after)
        return list_response(found.rows, token)

    async def DeleteApiKey(self, request: DeleteApiKeyRequest, call: Call) -> Empty:
        """End an API key for good."""
        call.audited.target = request.name
        user, key_id = key_to_delete(request)
        await self._api_keys.delete(user, key_id, call.audited)
        return Empty()
