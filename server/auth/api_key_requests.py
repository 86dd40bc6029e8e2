"""The rules that requests about API keys must meet, each request a command model."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from server.auth.api_keys import WantedKey
from server.auth.mapping import Permissions
from server.core.resource_names import USER_PATTERN, UUID_PATTERN
from server.generated.interview.auth.v1 import user_service_pb2 as users
from server.query.requests import ListRows
from server.rpc.validation import validated

MAX_SCOPES: Final = 64

_USER = re.compile(USER_PATTERN)
_KEY = re.compile(f"{USER_PATTERN}/apiKeys/{UUID_PATTERN}")


def _user_name(name: str) -> str:
    match = _USER.fullmatch(name)
    if match is None:
        raise ValueError("must be a name like users/jane-doe")
    return match[1]


def _key_name(name: str) -> str:
    if _KEY.fullmatch(name) is None:
        raise ValueError(
            "must be a name like users/jane-doe/apiKeys/0c6e0f6e-8f0d-4c3b-9d0a-1f2e3d4c5b6a"
        )
    return name


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    if not text.strip():
        raise ValueError("must be set")
    return text


def _moment(sent: Timestamp | None) -> datetime | None:
    try:
        return None if sent is None else sent.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a time within the years 1 to 9999") from None


def _given(text: str) -> str | None:
    return text or None


UserId = Annotated[str, AfterValidator(_user_name)]
"""A user's name, read as the id in it."""


class KeyFields(BaseModel):
    """Rules of an ApiKey that is to be made at the time `now`."""

    now: datetime
    display_name: Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_line)]
    scopes: Annotated[Permissions, Field(max_length=MAX_SCOPES)]
    expire_time: Annotated[datetime | None, BeforeValidator(_moment)]

    @field_validator("expire_time")
    @classmethod
    def _in_the_future(cls, moment: datetime | None, others: ValidationInfo) -> datetime | None:
        if moment is not None and moment <= others.data["now"]:
            raise ValueError("must be in the future")
        return moment


class CreateApiKey(BaseModel):
    """Rules of CreateApiKeyRequest."""

    parent: UserId
    api_key: KeyFields
    request_id: Annotated[UUID | None, BeforeValidator(_given)]


class ListApiKeys(ListRows):
    """Rules of ListApiKeysRequest."""

    parent: UserId


class DeleteApiKey(BaseModel):
    """Rules of DeleteApiKeyRequest."""

    name: Annotated[str, AfterValidator(_key_name)]


def wanted_key(request: users.CreateApiKeyRequest, now: datetime) -> WantedKey:
    """Read a CreateApiKeyRequest; raises ValidationFailed."""
    sent = request.api_key
    command = validated(
        CreateApiKey,
        {
            "parent": request.parent,
            "api_key": {
                "now": now,
                "display_name": sent.display_name,
                "scopes": list(sent.scopes),
                "expire_time": sent.expire_time if sent.HasField("expire_time") else None,
            },
            "request_id": request.request_id,
        },
    )
    return WantedKey(
        user=command.parent,
        display_name=command.api_key.display_name,
        scopes=tuple(command.api_key.scopes),
        expire_time=command.api_key.expire_time,
        request_id=command.request_id,
    )


def list_command(request: users.ListApiKeysRequest) -> ListApiKeys:
    """Read a ListApiKeysRequest; raises ValidationFailed."""
    return validated(
        ListApiKeys,
        {
            "parent": request.parent,
            "page_size": request.page_size,
            "page_token": request.page_token,
        },
    )


def key_to_delete(request: users.DeleteApiKeyRequest) -> tuple[str, UUID]:
    """Read a DeleteApiKeyRequest: the user's id and the key's; raises ValidationFailed."""
    command = validated(DeleteApiKey, {"name": request.name})
    _, user, _, key_id = command.name.split("/")
    return user, UUID(key_id)
