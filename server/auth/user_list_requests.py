"""The rules that requests which read users must meet, each request a command model."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel

from server.core.resource_names import USER_PATTERN
from server.query.requests import ListFiltered

_NAME: Final = re.compile(USER_PATTERN)


def _user_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("must be a name like users/{id}, where the id has a-z, 0-9 and -")
    return name


UserName = Annotated[str, AfterValidator(_user_name)]


class GetUser(BaseModel):
    """Rules of GetUserRequest."""

    name: UserName


class ListUsers(ListFiltered):
    """Rules of ListUsersRequest."""
