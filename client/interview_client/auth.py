"""Sign-in: tokens, where they are kept, and their renewal before they end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

from grpc import aio

from .calls import Calls, anonymous
from .errors import DeadlineExceeded, InvalidArgument, Unauthenticated, Unavailable
from .generated.interview.auth.v1 import (
    LoginRequest,
    LogoutRequest,
    RefreshTokenRequest,
    TokenPair,
    User,
)
from .generated.interview.auth.v1.auth_service_stub import AuthServiceStub
from .generated.methods import AuthService

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time of this machine, with UTC as its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login session is proved with. All times carry a zone.

    From `refresh_time` on, by this machine's clock, the tokens are renewed before a call.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access_expire_time: datetime
    refresh_time: datetime

    def to_json(self) -> str:
        """Return the tokens as JSON. It holds secrets: keep it where only the user can read."""
        return json.dumps(
            {
                "access_token": self.access_token,
                "refresh_token": self.refresh_token,
                "access_expire_time": self.access_expire_time.isoformat(),
                "refresh_time": self.refresh_time.isoformat(),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Tokens":
        """Return the tokens that `to_json` wrote. Raises ValueError for anything else."""
        try:
            values = json.loads(text)
            return cls(
                access_token=str(values["access_token"]),
                refresh_token=str(values["refresh_token"]),
                access_expire_time=datetime.fromisoformat(values["access_expire_time"]),
                refresh_time=datetime.fromisoformat(values["refresh_time"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("the text does not hold tokens") from error


class TokenStore(Protocol):
    """Where tokens live. A store that several processes share keeps `exclusive` across them."""

    async def load(self) -> Tokens | None:
        """Return the tokens, None if nobody is signed in."""
        ...

    async def save(self, tokens: Tokens | None) -> None:
        """Keep the tokens; None forgets them."""
        ...

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Hold everybody else off while tokens are renewed.

        A refresh token works once: two renewals at a time with the same one end the login
        session.
        """
        ...


class MemoryTokenStore:
    """Keeps tokens for the life of one client."""

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = tokens

    async def load(self) -> Tokens | None:
        """Return the tokens, None if nobody is signed in."""
        return self._tokens

    async def save(self, tokens: Tokens | None) -> None:
        """Keep the tokens; None forgets them."""
        self._tokens = tokens

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Nothing to hold off: nobody else sees these tokens."""
        yield


class ApiKeySource:
    """Gives every call the same API key."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def __call__(self, *, rejected: str | None = None) -> str | None:
        """Return the key, whatever became of the last call: there is no other one."""
        del rejected
        return self._secret


class Authenticator:
    """Signs in and out, and gives every call a fresh access token."""

    def __init__(self, channel: aio.Channel, store: TokenStore, clock: Clock = utc_now) -> None:
        stub = AuthServiceStub(channel)
        open_calls = Calls(channel, anonymous)
        own_calls = Calls(channel, self.token)
        self._login = open_calls.unary(stub.login, AuthService.LOGIN)
        self._refresh = open_calls.unary(stub.refresh_token, AuthService.REFRESH_TOKEN)
        self._logout = own_calls.unary(stub.logout, AuthService.LOGOUT)
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self._renewals: set[asyncio.Task[str | None]] = set()
        self._begun = RefreshTokenRequest()
        """The last request for new tokens, which goes out again as it is until it is answered."""

    async def sign_in(
        self, email: str, password: str, device_label: str = "", *, scopes: Sequence[str] = ()
    ) -> User:
        """Open a login session and keep its tokens. Raises LoginFailed, LoginThrottled.

        `scopes` are the permissions to which the session is limited, none: all of the user's.
        """
        answer = await self._login(
            LoginRequest(
                email=email, password=password, device_label=device_label, scopes=list(scopes)
            )
        )
        await self._keep(self._received(answer.tokens))
        return answer.user or User()

    async def sign_out(self, *, all_sessions: bool = False) -> None:
        """End the login session, or all of the user's, and forget the tokens in any case.

        A session that has ended already is no error. Raises Unavailable and the like when the
        server could not be told.
        """
        if await self._store.load() is None:
            return
        try:
            await self._logout(LogoutRequest(all_sessions=all_sessions))
        except Unauthenticated:
            pass
        finally:
            await self._keep(None)

    async def token(self, *, rejected: str | None = None) -> str | None:
        """Return an access token that is good now, None when nobody is signed in.

        `rejected` is a token that the server found expired: it is renewed even if this
        machine's clock sees time left. Raises Unauthenticated when the login session is over.
        """
        tokens = await self._store.load()
        if tokens is None or not self._is_due(tokens, rejected):
            return None if tokens is None else tokens.access_token
        # A caller that gives up must not take the renewal with it: the server would have
        # exchanged the refresh token and nobody would hold the new one.
        renewal = asyncio.create_task(self._fresh(rejected))
        self._renewals.add(renewal)
        renewal.add_done_callback(self._renewal_done)
        return await asyncio.shield(renewal)

    async def close(self) -> None:
        """Wait for renewals under way, so that their tokens are kept."""
        await asyncio.gather(*self._renewals, return_exceptions=True)

    def _renewal_done(self, renewal: asyncio.Task[str | None]) -> None:
        self._renewals.discard(renewal)
        if not renewal.cancelled():
            # Whoever still waits gets the error; without a waiter the next call meets it.
            renewal.exception()

    async def _fresh(self, rejected: str | None) -> str | None:
        async with self._lock, self._store.exclusive():
            # Whoever held the lock before may have renewed the tokens already.
            tokens = await self._store.load()
            if tokens is not None and self._is_due(tokens, rejected):
                tokens = await self._renew(tokens, rejected)
            return None if tokens is None else tokens.access_token

    def _is_due(self, tokens: Tokens, rejected: str | None) -> bool:
        return tokens.access_token == rejected or self._clock() >= tokens.refresh_time

    async def _renew(self, tokens: Tokens, rejected: str | None) -> Tokens:
        if self._begun.refresh_token != tokens.refresh_token:
            self._begun = RefreshTokenRequest(
                refresh_token=tokens.refresh_token, request_id=str(uuid4())
            )
        try:
            # An answer may be lost. Under the same request_id the server gives another one;
            # without it, a used token that comes again would end the login session.
            answer = await self._refresh(self._begun)
        except (Unauthenticated, InvalidArgument):  # garbled ones are as dead as expired ones
            await self._store.save(None)
            raise
        except (Unavailable, DeadlineExceeded):
            if tokens.access_token == rejected or self._clock() >= tokens.access_expire_time:
                raise
            return tokens
        renewed = self._received(answer.tokens)
        await self._store.save(renewed)
        return renewed

    async def _keep(self, tokens: Tokens | None) -> None:
        async with self._lock, self._store.exclusive():
            await self._store.save(tokens)

    def _received(self, pair: TokenPair | None) -> Tokens:
        pair = pair or TokenPair()
        now = self._clock()
        expire = pair.access_expire_time or now
        # refresh_after counts from receipt, so the clocks of both machines need not agree.
        refresh_after = pair.refresh_after or max(expire - now, timedelta(0)) * 0.8
        return Tokens(
            access_token=pair.access_token,
            refresh_token=pair.refresh_token,
            access_expire_time=expire,
            refresh_time=now + refresh_after,
        )
