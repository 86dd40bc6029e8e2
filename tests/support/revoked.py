"""Long calls, and what other processes do to who makes them, by way of the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import grpc
from sqlalchemy import delete, insert, select, update

from server.auth.models import AppUser, AppUserRole, LoginSession
from server.core.clock import utc_now
from server.generated.interview.agent.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    chat_pb2,
)
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.chat_driver import Problem, problem_of
from tests.support.running import PASSWORD, VIEWER, Running

Metadata = Sequence[tuple[str, str]]


class Login:
    """Somebody who signed in at a server, by a credential that any server takes."""

    def __init__(self, tokens: Any) -> None:
        self._tokens = tokens

    @classmethod
    async def at(cls, server: Running, email: str = VIEWER) -> "Login":
        """Sign in."""
        request = auth_service_pb2.LoginRequest(email=email, password=PASSWORD)
        return cls((await _auth(server).Login(request)).tokens)

    async def refreshed(self, server: Running) -> "Login":
        """Return the next pair of tokens."""
        request = auth_service_pb2.RefreshTokenRequest(refresh_token=self._tokens.refresh_token)
        return Login((await _auth(server).RefreshToken(request)).tokens)

    @property
    def token(self) -> str:
        """The access token."""
        return str(self._tokens.access_token)

    @property
    def metadata(self) -> Metadata:
        """The headers of a call."""
        return (("authorization", f"Bearer {self.token}"),)

    async def logout(self, server: Running, *, everywhere: bool = False) -> None:
        """Sign out."""
        request = auth_service_pb2.LogoutRequest(all_sessions=everywhere)
        await _auth(server).Logout(request, metadata=self.metadata)

    async def refusal(self, server: Running) -> str:
        """Return why a plain call is refused; empty where it is answered."""
        stub = catalogue_service_pb2_grpc.CatalogueServiceStub(server.channel)
        try:
            await stub.GetFilm(film_pb2.GetFilmRequest(name="films/1"), metadata=self.metadata)
        except grpc.aio.AioRpcError as error:
            return problem_of(error).reason
        return ""

    def run_turn(self, server: Running, text: str = "Go") -> Any:
        """Open a stream of one turn."""
        message = chat_pb2.UserMessageFrame(turn_id=str(uuid4()), text=text)
        request = agent_service_pb2.RunTurnRequest(user_message=message)
        return _agent(server).RunTurn(request, metadata=self.metadata)

    def ask(self, server: Running, question: str = "Go") -> Any:
        """Ask for one answer."""
        request = agent_service_pb2.AskRequest(question=question)
        return _agent(server).Ask(request, metadata=self.metadata)


async def how_it_ends(stream: Any) -> Problem:
    """Read a stream of answers to its end."""
    try:
        async for _ in stream:
            pass
    except grpc.aio.AioRpcError as error:
        return problem_of(error)
    return Problem(grpc.StatusCode.OK)


async def bar(server: Running, email: str = VIEWER) -> None:
    """Suspend a user elsewhere."""
    now = utc_now()
    await _change(server, email, now, state="suspended")


async def end_sessions(server: Running, email: str = VIEWER) -> None:
    """End every session of a user elsewhere."""
    owner = select(AppUser.user_id).where(AppUser.email == email).scalar_subquery()
    async with server.app.database.write() as write:
        ended = update(LoginSession).where(LoginSession.user_id == owner)
        await write.execute(ended.values(revoke_time=utc_now()))


async def set_roles(server: Running, *roles: str, email: str = VIEWER) -> None:
    """Give a user other roles elsewhere."""
    owner = select(AppUser.user_id).where(AppUser.email == email)
    async with server.app.database.write() as write:
        user_id = (await write.all(owner))[0].user_id
        await write.execute(delete(AppUserRole).where(AppUserRole.user_id == user_id))
        for role in roles:
            await write.execute(insert(AppUserRole).values(user_id=user_id, role=role))
    await _change(server, email, utc_now())


async def _change(server: Running, email: str, now: datetime, **values: Any) -> None:
    async with server.app.database.write() as write:
        changed = update(AppUser).where(AppUser.email == email)
        await write.execute(changed.values(roles_change_time=now, **values))


def _auth(server: Running) -> Any:
    return auth_service_pb2_grpc.AuthServiceStub(server.channel)


def _agent(server: Running) -> Any:
    return agent_service_pb2_grpc.AgentServiceStub(server.channel)
