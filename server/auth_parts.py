"""The parts of sign-in, joined: the composition root's hand in `server.auth`.

The server makes all of them; commands make them too, so that what they do is the same.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from structlog.typing import FilteringBoundLogger

from server.audit.trail import AuditRows
from server.auth.keys import signing_key_from_secret
from server.auth.passwords import Passwords
from server.auth.servicer import AuthServicer
from server.auth.session_repository import SessionRows
from server.auth.sessions import Sessions
from server.auth.sign_in import SignIn
from server.auth.tokens import AccessTokens, RefreshTokens
from server.auth.user_repository import UserRows
from server.auth.user_servicer import UserServicer
from server.auth.users import Users
from server.core.clock import Clock
from server.database.engine import Database
from server.rpc.auth import Authenticate
from server.settings import Settings


class AuthParts:
    """Sign-in, users and credentials of one process."""

    def __init__(
        self,
        settings: Settings,
        secret: bytes,
        database: Database,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._closing = AsyncExitStack()
        users = UserRows(database)
        self.audit_rows = AuditRows(database, clock)
        self.tokens = AccessTokens(
            signing_key_from_secret(secret),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            clock=clock,
            lifetime=settings.access_token_lifetime,
        )
        passwords = Passwords(settings.password_cost, log=log, threads=settings.max_running_logins)
        self._closing.push_async_callback(passwords.close)
        sessions = Sessions(
            SessionRows(database), self.tokens, RefreshTokens(), clock=clock, log=log
        )
        sign_in = SignIn(users, passwords, sessions)
        self.users = Users(users, passwords, self.tokens, clock=clock)
        self.auth_servicer = AuthServicer(sign_in, sessions)
        self.user_servicer = UserServicer()

    @property
    def authenticate(self) -> Authenticate:
        """Turns a credential of any kind into its principal."""
        return self.tokens.verify

    @staticmethod
    def is_api_key(credential: str) -> bool:
        """Tell whether this has the form of an API key."""
        return False

    def background(self) -> Sequence[asyncio.Task[None]]:
        """Start what runs beside the calls."""
        return []

    async def close(self) -> None:
        """Stop threads."""
        await self._closing.aclose()
