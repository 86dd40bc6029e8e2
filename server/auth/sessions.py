"""Login sessions: opened by a sign-in, kept by refreshing, ended by signing out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NoReturn, Protocol
from uuid import UUID, uuid4

from structlog.typing import FilteringBoundLogger

from server.auth.domain import (
    ACTIVE,
    Account,
    LoginSession,
    NewRefreshToken,
    RefreshRefused,
    RefusalCause,
    SessionRepository,
    SignedIn,
    User,
    credential_invalid,
    token_revoked,
)
from server.core.clock import Clock
from server.core.errors import Unauthenticated
from server.core.principal import Principal


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access token and the refresh token for the next pair.

    `refresh_after` counts from now, so that a client's clock need not agree with ours.
    """

    access_token: str = field(repr=False)
    access_expire_time: datetime
    refresh_token: str = field(repr=False)
    refresh_expire_time: datetime
    refresh_after: timedelta


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


class AccessTokenIssuer(Protocol):
    """Makes access tokens and stops accepting those of ended sessions."""

    def issue(
        self, user_id: UUID, session_id: UUID, roles: tuple[str, ...], auth_time: datetime
    ) -> tuple[str, datetime]:
        """Return a token and when it ends."""

    def forget_session(self, session_id: UUID) -> None:
        """Refuse the session's tokens from now on."""


class RefreshTokenSource(Protocol):
    """Makes refresh tokens and finds the hash under which one is kept."""

    def new(self) -> str:
        """Return a new random token."""

    def digest(self, token: str) -> bytes | None:
        """Return the token's hash; None for what cannot be one of ours."""


class Sessions:
    """Login sessions from the sign-in to the sign-out.

    `session_lifetime` counts from the password, `refresh_lifetime` from the last refresh.
    """

    def __init__(
        self,
        repository: SessionRepository,
        access_tokens: AccessTokenIssuer,
        refresh_tokens: RefreshTokenSource,
        *,
        clock: Clock,
        log: FilteringBoundLogger,
        session_lifetime: timedelta = timedelta(days=30),
        refresh_lifetime: timedelta = timedelta(days=30),
    ) -> None:
        self._repository = repository
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._clock = clock
        self._log = log
        self._session_lifetime = session_lifetime
        self._refresh_lifetime = refresh_lifetime

    async def open(self, account: Account, device: Device) -> Login | None:
        """Open a login session for somebody whose password was right.

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
            expire_time=now + self._session_lifetime,
        )
        token, hashed = self._new_refresh_token(now)
        if not await self._repository.open_session(session, hashed, account.password_hash):
            return None
        user = replace(account.user, last_login_time=now)
        return Login(self._pair(SignedIn(user, session), token, hashed), user, session)

    async def refresh(self, token: str) -> TokenPair:
        """Exchange a refresh token for a new pair; it is used up by that.

        Raises:
            Unauthenticated: REFRESH_TOKEN_REUSED for one that was used before, which ends its
                login session (RFC 9700, 4.14.2: one of its two senders has stolen it);
                TOKEN_REVOKED when the session was ended; CREDENTIAL_INVALID for any other.
        """
        used_hash = self._refresh_tokens.digest(token)
        if used_hash is None:
            raise credential_invalid()
        successor, hashed = self._new_refresh_token(self._clock())
        outcome = await self._repository.rotate(used_hash, hashed)
        if isinstance(outcome, RefreshRefused):
            self._refuse(outcome)
        return self._pair(outcome, successor, hashed)

    async def current(self, principal: Principal) -> User:
        """Return the caller as kept now.

        Raises:
            Unauthenticated: TOKEN_REVOKED when the login session was ended, CREDENTIAL_INVALID
                when the user is gone or barred.
        """
        found = await self._repository.find_signed_in(principal.user_id, principal.session_id)
        if found is None or found.user.state != ACTIVE:
            raise credential_invalid()
        if found.session.revoke_time is not None:
            self._access_tokens.forget_session(principal.session_id)
            raise token_revoked(found.session.revoke_time)
        return found.user

    async def logout(self, principal: Principal, *, all_sessions: bool) -> None:
        """End the caller's login session, or all of the caller's."""
        now = self._clock()
        ended: Sequence[UUID] = ()
        if all_sessions:
            ended = await self._repository.revoke_sessions_of(principal.user_id, now)
        else:
            await self._repository.revoke_session(principal.session_id, now)
        for session_id in {principal.session_id, *ended}:
            self._access_tokens.forget_session(session_id)

    def _new_refresh_token(self, now: datetime) -> tuple[str, NewRefreshToken]:
        token = self._refresh_tokens.new()
        token_hash = self._refresh_tokens.digest(token)
        if token_hash is None:
            raise ValueError("the source does not know its own tokens")
        return token, NewRefreshToken(token_hash, now, now + self._refresh_lifetime)

    def _pair(self, signed_in: SignedIn, token: str, hashed: NewRefreshToken) -> TokenPair:
        user, session = signed_in.user, signed_in.session
        access_token, access_expire_time = self._access_tokens.issue(
            user.user_id, session.session_id, user.roles, session.create_time
        )
        return TokenPair(
            access_token=access_token,
            access_expire_time=access_expire_time,
            refresh_token=token,
            refresh_expire_time=session.cap(hashed.expire_time),
            refresh_after=(access_expire_time - hashed.create_time) * 2 / 3,
        )

    def _refuse(self, refused: RefreshRefused) -> NoReturn:
        session = refused.session
        if refused.cause is RefusalCause.INVALID or session is None:
            raise credential_invalid()
        self._access_tokens.forget_session(session.session_id)
        if refused.cause is RefusalCause.REVOKED:
            raise token_revoked(session.revoke_time or self._clock())
        self._log.warning(
            "refresh_token_reused", user=f"users/{session.user_id}", session=str(session.session_id)
        )
        raise Unauthenticated(
            "the refresh token was used before, so its login session has ended; sign in again",
            reason="REFRESH_TOKEN_REUSED",
        )


def _printable(text: str, limit: int) -> str:
    """Fit what a stranger's client says of itself into its column."""
    return "".join(c if c.isprintable() else " " for c in text[:limit])
