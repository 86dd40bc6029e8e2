"""The parts of sign-in, joined: the composition root's hand in `server.auth`.

The server makes all of them; commands make them too, so that what they do is the same.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

from structlog.typing import FilteringBoundLogger

from server.audit.trail import AuditRows
from server.auth.attempt_repository import AttemptRows
from server.auth.attempts import Attempts, Limits
from server.auth.key_files import FollowedKeys
from server.auth.key_ring import KeyRing, ring_of
from server.auth.keys import signing_key_from_secret
from server.auth.passwords import Passwords
from server.auth.revocation_repository import RevocationRows
from server.auth.revocations import RevocationPoll, Revocations
from server.auth.servicer import AuthServicer
from server.auth.session_repository import SessionRows
from server.auth.sessions import Sessions
from server.auth.sign_in import SignIn
from server.auth.token_form import LEEWAY
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
        file = settings.signing_keys_file
        token_life = settings.access_token_lifetime + LEEWAY
        self.revocations = Revocations(clock=clock, lifetime=token_life)
        self._poll = RevocationPoll(
            RevocationRows(database),
            self.revocations,
            clock=clock,
            interval=timedelta(seconds=settings.revocation_poll_seconds),
            lookback=token_life,
            log=log,
        )
        self.tokens = AccessTokens(
            # With a file there are no keys before `start`.
            KeyRing() if file else ring_of(signing_key_from_secret(secret), clock()),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            clock=clock,
            lifetime=settings.access_token_lifetime,
            revocations=self.revocations,
        )
        self._keys = FollowedKeys(file, self.tokens.use_keys, log) if file else None
        passwords = Passwords(settings.password_cost, log=log, threads=settings.max_running_logins)
        self._closing.push_async_callback(passwords.close)
        sessions = Sessions(
            SessionRows(database), self.tokens, RefreshTokens(), clock=clock, log=log
        )
        self.attempts = Attempts(AttemptRows(database), _login_limits(settings), secret, clock)
        sign_in = SignIn(users, self.attempts, passwords, sessions)
        self.users = Users(users, passwords, self.tokens, clock=clock)
        self.auth_servicer = AuthServicer(sign_in, sessions, self.tokens.public_keys)
        self.user_servicer = UserServicer()

    @property
    def authenticate(self) -> Authenticate:
        """Turns a credential of any kind into its principal."""
        return self.tokens.verify

    @staticmethod
    def is_api_key(credential: str) -> bool:
        """Tell whether this has the form of an API key."""
        return False

    async def start(self) -> None:
        """Read the signing keys, before the first call. Raises KeyFileInvalid."""
        if self._keys is not None:
            await self._keys.load()

    def background(self) -> Sequence[asyncio.Task[None]]:
        """Start what runs beside the calls."""
        return [] if self._keys is None else [asyncio.create_task(self._keys.watch())]

    async def close(self) -> None:
        """Stop threads."""
        await self._closing.aclose()


def _login_limits(settings: Settings) -> Limits:
    return Limits(
        settings.login_failures,
        settings.login_failures_per_address,
        timedelta(seconds=settings.login_lock_seconds),
    )
