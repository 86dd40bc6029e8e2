"""The rules that requests about login sessions must meet, each request a command model."""

import re
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel

from server.auth.api_key_requests import UserId
from server.core.resource_names import USER_PATTERN, UUID_PATTERN
from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from server.query.requests import ListRows
from server.rpc.validation import validated

_NAME: Final = re.compile(f"{USER_PATTERN}/loginSessions/{UUID_PATTERN}")


def _session_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            "must be a name like users/jane-doe/loginSessions/0c6e0f6e-8f0d-4c3b-9d0a-1f2e3d4c5b6a"
        )
    return name


class ListSessions(ListRows):
    """Rules of ListLoginSessionsRequest."""

    parent: UserId


class RevokeSession(BaseModel):
    """Rules of RevokeLoginSessionRequest."""

    name: Annotated[str, AfterValidator(_session_name)]

    @property
    def user(self) -> str:
        """The id in the user's name."""
        return self.name.split("/")[1]

    @property
    def session_id(self) -> UUID:
        """The session's id."""
        return UUID(self.name.split("/")[3])


def list_command(request: auth.ListLoginSessionsRequest) -> ListSessions:
    """Read a ListLoginSessionsRequest; raises ValidationFailed."""
    return validated(
        ListSessions,
        {
            "parent": request.parent,
            "page_size": request.page_size,
            "page_token": request.page_token,
        },
    )


def revoke_command(request: auth.RevokeLoginSessionRequest) -> RevokeSession:
    """Read a RevokeLoginSessionRequest; raises ValidationFailed."""
    return validated(RevokeSession, {"name": request.name})
