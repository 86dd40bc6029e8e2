"""API keys as the contract has them."""

from collections.abc import Sequence

from server.auth.api_keys import ApiKey, NewKey
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.auth.v1 import user_service_pb2 as users
from server.rpc.well_known import timestamp


def key_message(key: ApiKey) -> resources.ApiKey:
    """Write an ApiKey."""
    return resources.ApiKey(
        name=key.name,
        display_name=key.display_name,
        scopes=key.scopes,
        create_time=timestamp(key.create_time),
        expire_time=timestamp(key.expire_time) if key.expire_time else None,
        last_use_time=timestamp(key.last_use_time) if key.last_use_time else None,
        hint=key.hint,
    )


def created_response(new: NewKey) -> users.CreateApiKeyResponse:
    """Write a CreateApiKeyResponse, the one message with the secret."""
    return users.CreateApiKeyResponse(api_key=key_message(new.key), secret=new.secret)


def list_response(keys: Sequence[ApiKey], next_page_token: str) -> users.ListApiKeysResponse:
    """Write a ListApiKeysResponse."""
    return users.ListApiKeysResponse(
        api_keys=[key_message(key) for key in keys], next_page_token=next_page_token
    )
