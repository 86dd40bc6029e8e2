"""Users with API keys, and what calls with them are answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import select

from server.database.base import Base
from server.database.engine import Database
from server.generated.interview.agent.v1 import agent_service_pb2_grpc
from server.generated.interview.auth.v1 import (
    auth_service_pb2,
    auth_service_pb2_grpc,
    resources_pb2,
    user_service_pb2_grpc,
)
from server.generated.interview.auth.v1 import user_service_pb2 as users
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.caller import SECONDS, Metadata
from tests.support.running import PASSWORD, Running


def bearer(credential: str) -> Metadata:
    """Return the headers of a call with an access token or API key."""
    return (("authorization", f"Bearer {credential}"),)


@dataclass
class Owner:
    """Somebody who signed in, or a program with a key, at one server."""

    running: Running
    user: str
    metadata: Metadata
    email: str = ""

    @classmethod
    async def new(cls, running: Running, role: str = "viewer") -> "Owner":
        """Make a user and sign in."""
        email = f"{uuid4().hex}@example.com"
        user = await running.app.users.create_user(email, PASSWORD, [role])
        return cls(running, user.name, await running.sign_in(email), email)

    def at(self, running: Running) -> "Owner":
        """Return the same caller at another server."""
        return Owner(running, self.user, self.metadata, self.email)

    def with_key(self, secret: str) -> "Owner":
        """Return the same user as a program that has only a key."""
        return Owner(self.running, self.user, bearer(secret), self.email)

    def request(
        self,
        *scopes: str,
        parent: str = "",
        display_name: str = "batch job",
        expire_time: Timestamp | None = None,
        request_id: str = "",
    ) -> users.CreateApiKeyRequest:
        """Ask for a key, for this user unless another parent is given."""
        key = resources_pb2.ApiKey(
            display_name=display_name, scopes=scopes, expire_time=expire_time
        )
        return users.CreateApiKeyRequest(
            parent=parent or self.user, api_key=key, request_id=request_id
        )

    async def send(self, request: users.CreateApiKeyRequest) -> users.CreateApiKeyResponse:
        """Make a key."""
        answer: users.CreateApiKeyResponse = await self.users.CreateApiKey(
            request, metadata=self.metadata, timeout=SECONDS
        )
        return answer

    async def create(self, *scopes: str, **wanted: Any) -> users.CreateApiKeyResponse:
        """Make a key as `request` asks for it."""
        return await self.send(self.request(*scopes, **wanted))

    async def list(
        self, parent: str | None = None, page_size: int = 0, page_token: str = ""
    ) -> users.ListApiKeysResponse:
        """Return a page of keys."""
        request = users.ListApiKeysRequest(
            parent=self.user if parent is None else parent,
            page_size=page_size,
            page_token=page_token,
        )
        answer: users.ListApiKeysResponse = await self.users.ListApiKeys(
            request, metadata=self.metadata, timeout=SECONDS
        )
        return answer

    async def delete(self, name: str) -> None:
        """End a key."""
        request = users.DeleteApiKeyRequest(name=name)
        await self.users.DeleteApiKey(request, metadata=self.metadata, timeout=SECONDS)

    async def change(self, method: str, **fields: str) -> None:
        """Call a method of UserService that changes a user."""
        request = getattr(users, f"{method}Request")(**fields)
        call = getattr(self.users, method)
        await call(request, metadata=self.metadata, timeout=SECONDS)

    def chat(self) -> Any:
        """Open a chat."""
        stub: Any = agent_service_pb2_grpc.AgentServiceStub(self.running.channel)
        return stub.Chat(metadata=self.metadata, timeout=SECONDS)

    async def film(self) -> str:
        """Return the name of a film, which needs the permission films.read."""
        stub = catalogue_service_pb2_grpc.CatalogueServiceStub(self.running.channel)
        request = film_pb2.GetFilmRequest(name="films/1")
        film = await stub.GetFilm(request, metadata=self.metadata, timeout=SECONDS)
        return str(film.name)

    async def principal(self) -> Any:
        """Return what the server says of the caller."""
        request = auth_service_pb2.GetCurrentPrincipalRequest()
        return await self.auth.GetCurrentPrincipal(request, metadata=self.metadata, timeout=SECONDS)

    async def may(self, *permissions: str, resource: str = "") -> Sequence[str]:
        """Return those of the permissions that the credential has."""
        request = auth_service_pb2.TestPermissionsRequest(
            resource=resource, permissions=permissions
        )
        answer = await self.auth.TestPermissions(request, metadata=self.metadata, timeout=SECONDS)
        return list(answer.permissions)

    @property
    def users(self) -> Any:
        """How to call UserService."""
        return user_service_pb2_grpc.UserServiceStub(self.running.channel)

    @property
    def auth(self) -> Any:
        """How to call AuthService."""
        return auth_service_pb2_grpc.AuthServiceStub(self.running.channel)


async def every_value(database: Database) -> str:
    """Return all that a database holds, as text."""
    tables = Base.metadata.sorted_tables
    return repr([await database.read.all(select(table)) for table in tables])
