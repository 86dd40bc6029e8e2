"""A client that signs in, refreshes and signs out, and what must hold of that afterwards."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TypeVar
from uuid import uuid4

from grpc import aio
from interview_client import InterviewClient, InterviewError
from interview_client.errors import error_of_call
from interview_client.generated.interview.auth.v1.auth_service_stub import AuthServiceStub
from interview_client.messages import (
    LoginRequest,
    LogoutRequest,
    RefreshTokenRequest,
    TokenPair,
)

from tests.support.history import History, Operation, Outcome
from tests.support.server_process import Account

ResponseT = TypeVar("ResponseT")
SECONDS = 10.0


@dataclass(frozen=True)
class Kept:
    """What the database holds of the login sessions with one device label."""

    sessions: int
    tokens: int
    revoked: bool


class SignIns:
    """Works on a session at a time; each has a device label that nobody else uses."""

    def __init__(
        self, client: InterviewClient, account: Account, history: History, chance: Random
    ) -> None:
        self._stub = AuthServiceStub(client.channel)
        self._account = account
        self._history = history
        self._chance = chance

    async def work(self) -> None:
        """Open, refresh and end sessions until the outcome of a call is not known."""
        while True:
            try:
                await self._one_session(str(uuid4()))
            except InterviewError:
                if self._history.operations[-1].outcome is Outcome.REFUSED:
                    raise
                return

    async def refresh(self, token: str) -> TokenPair:
        """Exchange a token."""
        request = RefreshTokenRequest(refresh_token=token)
        answer = await _typed(self._stub.refresh_token(request, timeout=SECONDS))
        assert answer.tokens is not None
        return answer.tokens

    async def _one_session(self, label: str) -> None:
        with self._history.recorded("login", label) as login:
            tokens = await self._login(label)
            login.result = tokens.refresh_token
        for _ in range(self._chance.randint(0, 3)):
            with self._history.recorded("refresh", label, tokens.refresh_token) as refresh:
                tokens = await self.refresh(tokens.refresh_token)
                refresh.result = tokens.refresh_token
        if self._chance.random() < 0.5:
            with self._history.recorded("logout", label):
                await self._logout(tokens.access_token)

    async def _login(self, label: str) -> TokenPair:
        email, password = self._account.email, self._account.password
        request = LoginRequest(email=email, password=password, device_label=label)
        answer = await _typed(self._stub.login(request, timeout=SECONDS))
        assert answer.tokens is not None
        return answer.tokens

    async def _logout(self, access_token: str) -> None:
        metadata = (("authorization", f"Bearer {access_token}"),)
        await _typed(self._stub.logout(LogoutRequest(), timeout=SECONDS, metadata=metadata))


async def _typed(call: Awaitable[ResponseT]) -> ResponseT:
    try:
        return await call
    except aio.AioRpcError as failure:
        raise error_of_call(failure, idempotent=False) from failure


async def check_session(
    operations: list[Operation], kept: Kept | None, refresh: Callable[[str], Awaitable[TokenPair]]
) -> None:
    """Hold what was done to one session against the database, and against what still works.

    Nothing acknowledged is lost, nothing happened twice; what is unknown happened once or not.
    """
    login, last = operations[0], operations[-1]
    if login.outcome is Outcome.UNKNOWN:
        assert kept is None or kept == Kept(sessions=1, tokens=1, revoked=False), operations
        return
    assert kept is not None, operations
    known = [o.result for o in operations if o.result]
    unknown = last.kind == "refresh" and last.outcome is Outcome.UNKNOWN
    assert kept.sessions == 1, operations
    assert len(known) <= kept.tokens <= len(known) + unknown, operations
    if last.kind == "logout":
        assert kept.revoked or last.outcome is Outcome.UNKNOWN, operations
        expected = "TOKEN_REVOKED" if kept.revoked else ""
    else:
        assert not kept.revoked, operations
        expected = "REFRESH_TOKEN_REUSED" if kept.tokens > len(known) else ""
    assert await _reason(refresh, known[-1]) == expected, operations
    if len(known) > 1 and not expected:
        # The one before was used up: whoever shows it is a thief, and the session ends.
        assert await _reason(refresh, known[-2]) == "REFRESH_TOKEN_REUSED", operations


async def _reason(refresh: Callable[[str], Awaitable[TokenPair]], token: str) -> str:
    """Return why a token is refused; empty where it works."""
    try:
        await refresh(token)
    except InterviewError as error:
        return error.reason
    return ""


async def check_sessions(
    history: History,
    kept: Mapping[str, Kept],
    refresh: Callable[[str], Awaitable[TokenPair]],
) -> None:
    """Check every session of a history, which is over."""
    sessions: dict[str, list[Operation]] = {}
    for operation in history.operations:
        if operation.kind in {"login", "refresh", "logout"}:
            sessions.setdefault(operation.subject, []).append(operation)
    for label, operations in sessions.items():
        await check_session(operations, kept.get(label), refresh)
