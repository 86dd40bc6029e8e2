"""An administrator and a viewer who ask a server for the crowd."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from server.auth.domain import User
from server.generated.interview.auth.v1 import resources_pb2, user_service_pb2_grpc
from server.generated.interview.auth.v1 import user_service_pb2 as pb
from tests.support.auth import MovableClock
from tests.support.crowd import seen
from tests.support.running import ADMIN, VIEWER, Running
from tests.support.statuses import Told, refused

Who = tuple[tuple[str, str], ...]


class Desk:
    """An administrator and a viewer who ask for the crowd."""

    def __init__(self, running: Running, clock: MovableClock, users: Sequence[User]) -> None:
        self.running, self.clock, self.users = running, clock, users
        self._stub = user_service_pb2_grpc.UserServiceStub(running.channel)
        self.admin: Who = ()
        self.viewer: Who = ()

    async def sign_in(self) -> None:
        self.admin = await self.running.sign_in(ADMIN)
        self.viewer = await self.running.sign_in(VIEWER)

    def call(self, method: str, request: Message, who: Who | None = None) -> Any:
        metadata = self.admin if who is None else who
        return getattr(self._stub, method)(request, metadata=metadata, timeout=10)

    async def refusal(self, method: str, request: Message, who: Who | None = None) -> Told:
        return await refused(self.call(method, request, who))

    async def pages(self, **fields: Any) -> list[list[resources_pb2.User]]:
        """Return every page of a list."""
        pages: list[list[resources_pb2.User]] = []
        token = ""
        while token or not pages:
            answer = await self.call("ListUsers", pb.ListUsersRequest(page_token=token, **fields))
            pages.append([*answer.users])
            token = answer.next_page_token
        return pages

    async def names(self, **fields: Any) -> list[str]:
        """Return the names of everybody on the pages of a list."""
        return [user.name for page in await self.pages(**fields) for user in page]

    def expected(self, *, show_deleted: bool = False) -> list[User]:
        return seen(self.users, self.clock.now, show_deleted=show_deleted)

    def first(self, state: str) -> User:
        return next(user for user in self.expected(show_deleted=True) if user.state == state)
