"""Pairs of tokens: one for calls and one for the next pair."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from server.auth.domain import LoginSession, User
from server.auth.rotation import NewRefreshToken


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


class AccessTokenIssuer(Protocol):
    """Makes access tokens and stops accepting those of ended sessions."""

    def issue(
        self,
        user_id: UUID,
        session_id: UUID,
        roles: tuple[str, ...],
        auth_time: datetime,
        scopes: Sequence[str] = (),
        *,
        roles_change_time: datetime | None = None,
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


@dataclass(frozen=True, slots=True)
class FreshToken:
    """A new refresh token: as it is handed out, and as it is kept."""

    text: str = field(repr=False)
    kept: NewRefreshToken


class TokenPairs:
    """Makes pairs. A refresh token that nobody uses ends after `idle_lifetime` (ASVS 7.3.1)."""

    def __init__(
        self,
        access_tokens: AccessTokenIssuer,
        refresh_tokens: RefreshTokenSource,
        *,
        idle_lifetime: timedelta = timedelta(days=30),
    ) -> None:
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._idle_lifetime = idle_lifetime

    def digest(self, refresh_token: str) -> bytes | None:
        """Return the hash under which a refresh token is kept; None for what cannot be one."""
        return self._refresh_tokens.digest(refresh_token)

    def fresh(self, now: datetime) -> FreshToken:
        """Return a new refresh token."""
        text = self._refresh_tokens.new()
        token_hash = self._refresh_tokens.digest(text)
        if token_hash is None:
            raise ValueError("the source does not know its own tokens")
        return FreshToken(text, NewRefreshToken(token_hash, now, now + self._idle_lifetime))

    def pair(self, user: User, session: LoginSession, fresh: FreshToken) -> TokenPair:
        """Return the refresh token with an access token of its session."""
        access_token, access_expire_time = self._access_tokens.issue(
            user.user_id,
            session.session_id,
            user.roles,
            session.create_time,
            session.scopes,
            roles_change_time=user.roles_change_time,
        )
        return TokenPair(
            access_token=access_token,
            access_expire_time=access_expire_time,
            refresh_token=fresh.text,
            refresh_expire_time=session.cap(fresh.kept.expire_time),
            refresh_after=(access_expire_time - fresh.kept.create_time) * 2 / 3,
        )

    def forget_session(self, session_id: UUID) -> None:
        """Refuse the access tokens of a session from now on."""
        self._access_tokens.forget_session(session_id)
