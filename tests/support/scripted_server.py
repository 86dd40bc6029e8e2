"""A real grpc.aio server whose answers a test scripts; for tests of the client alone."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status
from interview_client import InterviewClient, TokenStore

from server.generated.interview.agent.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    chat_pb2,
    resources_pb2,
)
from server.generated.interview.auth.v1 import (
    auth_service_pb2,
    auth_service_pb2_grpc,
    user_service_pb2_grpc,
)
from server.generated.interview.auth.v1 import resources_pb2 as auth_resources_pb2
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc

Context = aio.ServicerContext[Any, Any]
Answer = Callable[[Any, Context], Awaitable[Message]]
Stream = Callable[[Any, Context], AsyncIterator[Any]]
STREAMS = frozenset({"Chat", "RunTurn", "ExportFilms", "WatchCatalogue"})


def status_of(code: grpc.StatusCode, message: str, *details: Message) -> status_pb2.Status:
    """Return a status with its details packed."""
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    """Return the detail that carries the reason."""
    return error_details_pb2.ErrorInfo(reason=reason, domain="interview-api", metadata=metadata)


async def fail(
    context: Context, code: grpc.StatusCode, reason: str = "", *more: Message
) -> NoReturn:
    """End the call with a rich status."""
    details = [info(reason), *more] if reason else list(more)
    status = status_of(code, "the script says so", *details)
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort returned")


def bearer_of(context: Context) -> str:
    """Return the token that the call carries, empty if none."""
    metadata = dict(context.invocation_metadata() or ())
    return str(metadata.get("authorization", "")).removeprefix("Bearer ")


class Script:
    """Answers by method name; `calls` keeps the requests and tokens of each, in order."""

    def __init__(self, **answers: Answer | Stream) -> None:
        self.answers = answers
        self.calls: dict[str, list[tuple[Any, str]]] = {}

    def __getattr__(self, name: str) -> Answer | Stream:
        """Return the handler that grpc registers for a method."""
        if not name[:1].isupper():
            raise AttributeError(name)
        if name in STREAMS:
            return self._stream(name)
        return self._unary(name)

    def count(self, name: str) -> int:
        """Return how often the method was called."""
        return len(self.calls.get(name, []))

    def _record(self, name: str, request: Any, context: Context) -> None:
        self.calls.setdefault(name, []).append((request, bearer_of(context)))

    def _unary(self, name: str) -> Answer:
        async def handle(request: Any, context: Context) -> Message:
            self._record(name, request, context)
            if name not in self.answers:
                await fail(context, grpc.StatusCode.UNIMPLEMENTED)
            answer: Any = self.answers[name]
            message: Message = await answer(request, context)
            return message

        return handle

    def _stream(self, name: str) -> Stream:
        async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
            self._record(name, request, context)
            stream: Any = self.answers[name](request, context)
            async for event in stream:
                yield event

        return handle


class TokenMill:
    """Hands out numbered tokens; a refresh token works once, the newest access token is good."""

    def __init__(self, *, refresh_after: timedelta, lifetime: timedelta, now: Any) -> None:
        self.number = 0
        self.used: list[str] = []
        self._refresh_after = refresh_after
        self._lifetime = lifetime
        self._now = now

    def pair(self) -> auth_service_pb2.TokenPair:
        """Return the next pair."""
        self.number += 1
        pair = auth_service_pb2.TokenPair(
            access_token=f"access-{self.number}",
            refresh_token=f"refresh-{self.number}",
            token_type="Bearer",
        )
        pair.access_expire_time.FromDatetime(self._now() + self._lifetime)
        pair.refresh_after.FromTimedelta(self._refresh_after)
        return pair

    async def login(self, request: Any, context: Context) -> Message:
        """Answer Login: the only password is "right"."""
        if request.password != "right":
            await fail(context, grpc.StatusCode.UNAUTHENTICATED, "LOGIN_FAILED")
        user = auth_resources_pb2.User(name="users/1", email=request.email)
        return auth_service_pb2.LoginResponse(tokens=self.pair(), user=user)

    async def refresh(self, request: Any, context: Context) -> Message:
        """Answer RefreshToken: only the newest refresh token is good."""
        self.used.append(request.refresh_token)
        if request.refresh_token != f"refresh-{self.number}":
            await fail(context, grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_REUSED")
        return auth_service_pb2.RefreshTokenResponse(tokens=self.pair())

    async def logout(self, request: Any, context: Context) -> Message:
        """Answer Logout."""
        return empty_pb2.Empty()


def ready(session: str = "sessions/1", *, resumed: bool = False) -> chat_pb2.ChatResponse:
    """Return the event that opens a chat."""
    body = chat_pb2.SessionReady(session=resources_pb2.Session(name=session), resumed=resumed)
    return chat_pb2.ChatResponse(session_ready=body)


def asked(text: str) -> Message:
    """Return an answer of Ask."""
    return agent_service_pb2.AskResponse(answer=text)


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[str]:
    """Serve the script on a free port of this machine; yield the address."""
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    servicer: Any = script
    auth_service_pb2_grpc.add_AuthServiceServicer_to_server(servicer, server)
    user_service_pb2_grpc.add_UserServiceServicer_to_server(servicer, server)
    catalogue_service_pb2_grpc.add_CatalogueServiceServicer_to_server(servicer, server)
    agent_service_pb2_grpc.add_AgentServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def connected(
    script: Script, *, token_store: TokenStore | None = None, **options: Any
) -> AsyncIterator[InterviewClient]:
    """Yield a client of a server that follows the script."""
    async with (
        serving(script) as target,
        InterviewClient(target, token_store=token_store, **options) as client,
    ):
        yield client


def in_turn(*answers: Answer) -> Answer:
    """Answer each call with the next, the last one for ever."""
    left = list(answers)

    async def answer(request: Any, context: Context) -> Message:
        current = left.pop(0) if len(left) > 1 else left[0]
        return await current(request, context)

    return answer


def failing(code: grpc.StatusCode, reason: str = "", *details: Message) -> Answer:
    """Answer with a failure."""

    async def answer(request: Any, context: Context) -> Message:
        return await fail(context, code, reason, *details)

    return answer


def answering(message: Message) -> Answer:
    """Answer with the message."""

    async def answer(request: Any, context: Context) -> Message:
        return message

    return answer
