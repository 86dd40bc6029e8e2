"""The parts of sign-in, joined: the composition root's hand in `server.auth`.

The server makes all of them; commands make them too, so that what they do is the same.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from random import random
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from server.audit.trail import AuditRows
from server.auth.account_passwords import AccountPasswords
from server.auth.api_key_principals import ApiKeyPrincipals
from server.auth.api_key_repository import ApiKeyRows
from server.auth.api_key_secrets import is_api_key, new_secret
from server.auth.api_key_uses import ApiKeyUses
from server.auth.api_keys import ApiKeys
from server.auth.attempt_repository import AttemptRows
from server.auth.attempts import Attempts, Limits
from server.auth.credentials import Credentials
from server.auth.hash_threads import HashThreads
from server.auth.key_files import FollowedKeys
from server.auth.key_ring import KeyRing, ring_of
from server.auth.keys import signing_key_from_secret
from server.auth.password_change import PasswordChange
from server.auth.password_hashes import PasswordHashes
from server.auth.password_repository import PasswordRows
from server.auth.passwords import Passwords
from server.auth.retention_repository import AFTER_END, OldRows
from server.auth.revocation_repository import RevocationRows
from server.auth.revocations import RevocationPoll, Revocations
from server.auth.servicer import AuthServicer
from server.auth.session_repository import SessionRows
from server.auth.sessions import Sessions, SessionTimes
from server.auth.sign_in import SignIn
from server.auth.token_form import LEEWAY
from server.auth.token_pairs import TokenPairs
from server.auth.tokens import AccessTokens, RefreshTokens
from server.auth.user_directory import UserDirectory
from server.auth.user_fields import user_fields
from server.auth.user_parts import Changes
from server.auth.user_reads import UserDirectoryRows
from server.auth.user_repository import UserRows
from server.auth.user_servicer import UserServicer
from server.auth.user_writes import UserWrites
from server.auth.users import Users
from server.core.clock import Clock
from server.core.idempotency import RETENTION as IDEMPOTENT_CALLS_KEPT
from server.core.principal import Principal
from server.core.retention import Kept, Retention
from server.database.engine import Database
from server.database.idempotency import IdempotentCalls
from server.rpc.idempotency import RequestIds
from server.rpc.page_token import PageTokens
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
        self._settings, self._secret = settings, secret
        self._database, self._clock, self._log = database, clock, log
        self._closing = AsyncExitStack()
        self.audit_rows = AuditRows(database, clock)
        self._page_tokens = PageTokens(secret, clock, secrets.token_bytes)
        self._build_tokens()
        self._passwords = passwords_of(settings, log)
        self._closing.push_async_callback(self._passwords.close)
        self.auth_servicer = self._built_sign_in()
        api_keys = self._built_api_keys()
        changes = changes_of(database, self._passwords, self.revocations, self.audit_rows, clock)
        self.users = Users(UserRows(database), changes, self.audit_rows.store)
        directory = UserDirectory(UserDirectoryRows(database), user_fields(), clock)
        self.user_servicer = UserServicer(
            directory, changes, api_keys, self._page_tokens, RequestIds(secret), clock
        )

    def _build_tokens(self) -> None:
        settings, clock = self._settings, self._clock
        token_life = settings.access_token_lifetime + LEEWAY
        self.revocations = Revocations(clock=clock, lifetime=token_life)
        self._poll = RevocationPoll(
            RevocationRows(self._database),
            self.revocations,
            clock=clock,
            interval=timedelta(seconds=settings.revocation_poll_seconds),
            lookback=token_life,
            log=self._log,
        )
        file = settings.signing_keys_file
        self.tokens = AccessTokens(
            # With a file there are no keys before `start`.
            KeyRing() if file else ring_of(signing_key_from_secret(self._secret), clock()),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            clock=clock,
            lifetime=settings.access_token_lifetime,
            revocations=self.revocations,
        )
        self._keys = FollowedKeys(file, self.tokens.use_keys, self._log) if file else None

    def _built_sign_in(self) -> AuthServicer:
        database, clock = self._database, self._clock
        limits = _login_limits(self._settings)
        self.attempts = Attempts(AttemptRows(database), limits, self._secret, clock)
        self._retention = Retention(
            kept_of(OldRows(database), self.attempts), clock=clock, log=self._log, chance=random
        )
        sessions = Sessions(
            SessionRows(database, self.audit_rows),
            TokenPairs(self.tokens, RefreshTokens()),
            _session_times(self._settings),
            clock=clock,
            log=self._log,
        )
        hashes = PasswordRows(database, self.audit_rows)
        accounts = AccountPasswords(hashes, self._passwords)
        change = PasswordChange(
            hashes, self.attempts, accounts, self._passwords, self.tokens, clock=clock
        )
        sign_in = SignIn(UserRows(database), self.attempts, accounts, sessions)
        return AuthServicer(sign_in, sessions, self.tokens.public_keys, change, self._page_tokens)

    def _built_api_keys(self) -> ApiKeys:
        rows = ApiKeyRows(self._database, self.audit_rows)
        self._key_uses = ApiKeyUses(rows.note_uses, self._log)
        self._closing.push_async_callback(self._key_uses.close)
        principals = ApiKeyPrincipals(
            rows,
            self._key_uses.note,
            clock=self._clock,
            random=random,
            unknown_lookups=max(1, self._database.pools[0].size // 4),
        )
        self.revocations.listen(principals.forget)
        self._credentials = Credentials(self.tokens.verify, principals)
        return ApiKeys(
            rows, self.revocations, clock=self._clock, new_secret=new_secret, new_uuid=uuid4
        )

    def authenticate(self, credential: str) -> Principal | Awaitable[Principal]:
        """Turn a credential of any kind into its principal."""
        return self._credentials.authenticate(credential)

    @staticmethod
    def is_api_key(credential: str) -> bool:
        """Tell whether this has the form of an API key."""
        return is_api_key(credential)

    async def start(self) -> None:
        """Read the signing keys and what was revoked of late, before the first call.

        Raises KeyFileInvalid.
        """
        if self._keys is not None:
            await self._keys.load()
        await self._poll.attempt()

    def background(self) -> Sequence[asyncio.Task[None]]:
        """Start what runs beside the calls."""
        works = (self._poll, self._key_uses, self._retention)
        tasks = [asyncio.create_task(work.run()) for work in works]
        if self._keys is not None:
            tasks.append(asyncio.create_task(self._keys.watch()))
        return tasks

    async def close(self) -> None:
        """Stop threads."""
        await self._closing.aclose()


def passwords_of(settings: Settings, log: FilteringBoundLogger) -> Passwords:
    """Return what makes and checks hashes; a server and a command must do it alike."""
    return Passwords(
        PasswordHashes(settings.password_cost, settings.peppers),
        HashThreads(settings.max_running_logins, settings.max_waiting_logins, random=random),
        log=log,
    )


def changes_of(
    database: Database,
    passwords: Passwords,
    revocations: Revocations,
    audits: AuditRows,
    clock: Clock,
) -> Changes:
    """Return what changes users, for the server and for commands."""
    writes = UserWrites(database, IdempotentCalls(database, clock), audits)
    return Changes.over(writes, passwords, revocations, clock=clock)


def kept_of(rows: OldRows, attempts: Attempts) -> Sequence[Kept]:
    """Say what is deleted how long after its end. A session goes after its tokens."""
    return [
        Kept("expired_refresh_tokens", AFTER_END, rows.expired_tokens),
        Kept("revoked_refresh_tokens", AFTER_END, rows.revoked_tokens),
        Kept("login_sessions", AFTER_END, rows.ended_sessions),
        Kept("login_attempts", timedelta(0), attempts.forget_expired),
        Kept("idempotent_calls", IDEMPOTENT_CALLS_KEPT, rows.idempotent_calls),
        Kept("users", timedelta(0), rows.purged_users),
    ]


def _session_times(settings: Settings) -> SessionTimes:
    return SessionTimes(
        timedelta(days=settings.session_days), timedelta(seconds=settings.refresh_grace_seconds)
    )


def _login_limits(settings: Settings) -> Limits:
    return Limits(
        settings.login_failures,
        settings.login_failures_per_address,
        timedelta(seconds=settings.login_lock_seconds),
    )
