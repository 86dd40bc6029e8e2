"""Login sessions: opened by a sign-in, kept by refreshing, ended by signing out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NoReturn, Protocol
from uuid import UUID, uuid4

from structlog.typing import FilteringBoundLogger

from server.auth.domain import (
    ACTIVE,
    USER_TYPE,
    Account,
    LoginSession,
    SignedIn,
    User,
    credential_invalid,
    token_revoked,
)
from server.auth.rotation import (
    NewRefreshToken,
    RefreshAttempt,
    RefreshRefused,
    RefusalCause,
    Rotated,
)
from server.auth.token_pairs import TokenPair, TokenPairs
from server.core.audit import AuditRecord
from server.core.clock import Clock
from server.core.errors import ResourceNotFound, Unauthenticated
from server.core.paging import Key, Page, PageRequest, cut_page
from server.core.principal import CredentialKind, Principal
from server.core.resource_names import user_id_of

SESSION_TYPE: Final = "interview-api/LoginSession"


@dataclass(frozen=True, slots=True)
class Login:
    """The answer to a sign-in."""

    tokens: TokenPair
    user: User
    session: LoginSession


@dataclass(frozen=True, slots=True)
class Device:
    """What a client says of itself, and where it calls from."""

    label: str = ""
    user_agent: str = ""
    ip_address: str = ""


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """How long a session lasts from its password on, however often it is refreshed, and for how
    long after a refresh a repeat of it is answered (0: never).
    """

    lifetime: timedelta = timedelta(days=30)
    refresh_grace: timedelta = timedelta(seconds=10)


class SessionRepository(Protocol):
    """Keeps login sessions and their refresh tokens.

    The record of a call is stored with what the call changes, in one transaction.
    """

    async def open_session(
        self,
        session: LoginSession,
        token: NewRefreshToken,
        password_hash: str,
        record: AuditRecord,
    ) -> bool:
        """Store a session with its first token and note the time of the sign-in.

        False, and nothing stored, when the user is no longer active or has another password
        by now: both may change while a hash is computed.
        """

    async def rotate(
        self, attempt: RefreshAttempt, successor: NewRefreshToken, record: AuditRecord
    ) -> Rotated | RefreshRefused:
        """Exchange a token for its successor, for at most one of any number of callers.

        The others are answered by `refusal_of`; a token that was stolen ends its session.
        """

    async def find_user(self, user_id: UUID) -> User | None:
        """Return a user."""

    async def find_signed_in(self, user_id: UUID, session_id: UUID) -> SignedIn | None:
        """Return the user's session, ended or not."""

    async def sessions_of(
        self, user_id: UUID, page: PageRequest, now: datetime
    ) -> Sequence[LoginSession]:
        """Return the user's sessions that have not ended, the newest first, and one more than
        the page has room for.
        """

    async def revoke_session(
        self, user_id: UUID, session_id: UUID, now: datetime, record: AuditRecord
    ) -> bool:
        """End one session; one that has ended stays as it is. False: the user has none such."""

    async def revoke_sessions_of(
        self, user_id: UUID, now: datetime, record: AuditRecord
    ) -> Sequence[UUID]:
        """End every session of a user and return those that ended now."""


class Sessions:
    """Login sessions from the sign-in to the sign-out.

    Whatever changes one takes the record of the call, which is stored with the change.
    """

    def __init__(
        self,
        repository: SessionRepository,
        tokens: TokenPairs,
        times: SessionTimes,
        *,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._repository = repository
        self._tokens = tokens
        self._times = times
        self._clock = clock
        self._log = log

    async def open(
        self, account: Account, device: Device, scopes: Sequence[str], record: AuditRecord
    ) -> Login | None:
        """Open a login session for somebody whose password was right.

        Its tokens are limited to the permissions `scopes`, unless there are none.
        None when the user is barred or has another password by now.
        """
        now = self._clock()
        session = LoginSession(
            session_id=uuid4(),
            user_id=account.user.user_id,
            device_label=_printable(device.label, 64),
            user_agent=_printable(device.user_agent, 256),
            ip_address=_printable(device.ip_address, 64),
            create_time=now,
            expire_time=now + self._times.lifetime,
            scopes=tuple(scopes),
        )
        fresh = self._tokens.fresh(now)
        hashed = account.password_hash
        if not await self._repository.open_session(session, fresh.kept, hashed, record):
            return None
        user = replace(account.user, last_login_time=now)
        return Login(self._tokens.pair(user, session, fresh), user, session)

    async def refresh(self, token: str, request_id: UUID | None, record: AuditRecord) -> TokenPair:
        """Exchange a refresh token for a new pair; it is used up by that.

        A repeat of the call that used it, known by `request_id`, gets another pair for a short
        time: its answer may have been lost.

        Raises:
            Unauthenticated: REFRESH_TOKEN_REUSED for one that was used before, which ends its
                login session (RFC 9700, 4.14.2: one of its two senders has stolen it);
                TOKEN_REVOKED when the session was ended; CREDENTIAL_INVALID for any other.
        """
        token_hash = self._tokens.digest(token)
        if token_hash is None:
            raise credential_invalid()
        now, grace = self._clock(), self._times.refresh_grace
        attempt = RefreshAttempt(
            token_hash, request_id, repeat_since=now - grace if grace else None
        )
        fresh = self._tokens.fresh(now)
        outcome = await self._repository.rotate(attempt, fresh.kept, record)
        if isinstance(outcome, RefreshRefused):
            self._refuse(outcome)
        if outcome.repeats:
            self._log.info(
                "refresh_repeated",
                user=f"users/{outcome.user.user_id}",
                session=str(outcome.session.session_id),
                repeats=outcome.repeats,
            )
        return self._tokens.pair(outcome.user, outcome.session, fresh)

    async def current(self, principal: Principal) -> User:
        """Return the caller as kept now.

        Raises:
            Unauthenticated: TOKEN_REVOKED when the login session was ended, CREDENTIAL_INVALID
                when the user is gone or barred.
        """
        if principal.kind is CredentialKind.API_KEY:
            user = await self._repository.find_user(principal.user_id)
            if user is None or user.state != ACTIVE:
                raise credential_invalid()
            return user
        found = await self._repository.find_signed_in(principal.user_id, principal.session_id)
        if found is None or found.user.state != ACTIVE:
            raise credential_invalid()
        if found.session.revoke_time is not None:
            self._tokens.forget_session(principal.session_id)
            raise token_revoked(found.session.revoke_time)
        return found.user

    async def logout(
        self, principal: Principal, record: AuditRecord, *, all_sessions: bool
    ) -> None:
        """End the caller's login session, or all of the caller's. An API key has none itself."""
        now = self._clock()
        record.target = principal.name if all_sessions else principal.credential
        own = {principal.session_id} if principal.kind is CredentialKind.ACCESS_TOKEN else set()
        ended: Sequence[UUID] = ()
        if all_sessions:
            ended = await self._repository.revoke_sessions_of(principal.user_id, now, record)
        elif own:
            await self._repository.revoke_session(
                principal.user_id, principal.session_id, now, record
            )
        for session_id in {*own, *ended}:
            self._tokens.forget_session(session_id)

    async def list_sessions(self, user: str, page: PageRequest) -> Page[LoginSession]:
        """Return a page of a user's login sessions that have not ended, the newest first.

        `user` is the last segment of the user's name.

        Raises:
            ResourceNotFound: there is no such user.
        """
        user_id = user_id_of(user)
        rows = await self._repository.sessions_of(user_id, page, self._clock())
        if not rows and await self._repository.find_user(user_id) is None:
            raise ResourceNotFound(USER_TYPE, f"users/{user}")
        return cut_page(rows, page, _key)

    async def revoke(self, user: str, session_id: UUID, record: AuditRecord) -> None:
        """End a user's login session; one that has ended already stays as it is.

        Raises:
            ResourceNotFound: the user has no such session.
        """
        user_id, now = user_id_of(user), self._clock()
        if not await self._repository.revoke_session(user_id, session_id, now, record):
            raise ResourceNotFound(SESSION_TYPE, f"users/{user}/loginSessions/{session_id}")
        self._tokens.forget_session(session_id)

    def _refuse(self, refused: RefreshRefused) -> NoReturn:
        session = refused.session
        if refused.cause is RefusalCause.INVALID or session is None:
            raise credential_invalid()
        self._tokens.forget_session(session.session_id)
        if refused.cause is RefusalCause.REVOKED:
            raise token_revoked(session.revoke_time or self._clock())
        self._log.warning(
            "refresh_token_reused", user=f"users/{session.user_id}", session=str(session.session_id)
        )
        raise Unauthenticated(
            "the refresh token was used before, so its login session has ended; sign in again",
            reason="REFRESH_TOKEN_REUSED",
        )


def _key(session: LoginSession) -> Key:
    return session.create_time.isoformat(), str(session.session_id)


def _printable(text: str, limit: int) -> str:
    """Fit what a stranger's client says of itself into its column."""
    return "".join(c if c.isprintable() else " " for c in text[:limit])
