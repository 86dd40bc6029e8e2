"""Tokens: signed ones for calls (RFC 9068), opaque ones for the next pair."""

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import jwt

from server.auth.domain import credential_invalid
from server.auth.key_ring import KeyRing
from server.auth.keys import ALGORITHMS, PublicKey, SigningKey
from server.auth.revocations import Revocations
from server.auth.strict_json import base64url
from server.auth.token_form import LEEWAY, ROLES_TIME, TYPE, TokenRules, kid_of, microseconds
from server.core.clock import Clock, rfc3339
from server.core.errors import Unauthenticated
from server.core.principal import Principal

_REFRESH_TOKEN = re.compile(r"rt_[A-Za-z0-9_-]{43}")


class RefreshTokens:
    """Opaque tokens of 256 random bits, kept as their SHA-256.

    A plain hash is enough: nobody guesses 256 random bits, however fast the hash.
    """

    def __init__(self, randomness: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._randomness = randomness

    def new(self) -> str:
        """Return a new token."""
        return f"rt_{base64url(self._randomness(32))}"

    def digest(self, token: str) -> bytes | None:
        """Return the hash under which a token is kept; None for what cannot be one."""
        if not _REFRESH_TOKEN.fullmatch(token):
            return None
        return hashlib.sha256(token.encode("ascii")).digest()


class _Verifier(NamedTuple):
    """A public key with its one algorithm, and when it stops to count."""

    public: PublicKey
    algorithm: str
    end: datetime


class _Verified(NamedTuple):
    """Whose a token is, and the key that signed it."""

    principal: Principal
    kid: str


class AccessTokens:
    """Issues access tokens and tells whose they are.

    A token that was verified is remembered, `cache_size` at most, since its signature costs
    more than all the rest of a call's checks; it is never accepted past its `exp`, nor when
    the key that signed it no longer counts.

    What of them counts no more before its time, `revocations` knows; it is asked each time.
    """

    def __init__(
        self,
        keys: KeyRing,
        *,
        issuer: str,
        audience: str,
        clock: Clock,
        lifetime: timedelta = timedelta(minutes=15),
        randomness: Callable[[int], bytes] = secrets.token_bytes,
        cache_size: int = 10_000,
        revocations: Revocations | None = None,
    ) -> None:
        self._rules = TokenRules(issuer, audience, lifetime)
        self._signatures = jwt.PyJWS(algorithms=list(ALGORITHMS))
        self._clock = clock
        self._lifetime = lifetime
        self._randomness = randomness
        self._cache_size = cache_size
        self._verified: OrderedDict[str, _Verified] = OrderedDict()
        self._revocations = revocations or Revocations(clock=clock, lifetime=lifetime + LEEWAY)
        self.use_keys(keys)

    def use_keys(self, keys: KeyRing) -> None:
        """Sign and verify with these keys from now on; tokens of others are forgotten."""
        self._keys = keys
        ends = keys.ends(self._lifetime + LEEWAY)
        self._verifiers = {
            one.key.kid: _Verifier(one.key.public, one.key.algorithm, ends[one.key.kid])
            for one in keys.keys
        }
        known = ((token, it) for token, it in self._verified.items() if it.kid in self._verifiers)
        self._verified = OrderedDict(known)

    def public_keys(self) -> Sequence[SigningKey]:
        """Return the keys that verify tokens now or soon."""
        return self._keys.counting(self._clock(), self._lifetime + LEEWAY)

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
        """Return a token and when it ends.

        `auth_time` is when the password was given; `scopes` are the permissions to which the
        login session is limited, none where it is not. `roles_change_time` is when the user got
        these roles: with another time a token counts no more.
        """
        issued = int(self._clock().timestamp())
        expires = issued + int(self._lifetime.total_seconds())
        claims = {
            "iss": self._rules.issuer,
            "aud": self._rules.audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": base64url(self._randomness(16)),
            "roles": list(roles),
            "auth_time": int(auth_time.timestamp()),
            "iat": issued,
            "exp": expires,
            **({"scope": " ".join(scopes)} if scopes else {}),
            **({ROLES_TIME: microseconds(roles_change_time)} if roles_change_time else {}),
        }
        key = self._keys.current
        headers = {"typ": TYPE, "kid": key.kid}
        token = jwt.encode(claims, key.private, algorithm=key.algorithm, headers=headers)
        return token, datetime.fromtimestamp(expires, UTC)

    def verify(self, token: str) -> Principal:
        """Return whose token it is.

        Raises:
            Unauthenticated: TOKEN_EXPIRED, also when its user's roles have changed; TOKEN_REVOKED
                when its session has ended or its user is barred; CREDENTIAL_INVALID with one
                fixed text for anything else.
        """
        now = self._clock()
        known = self._verified.get(token)
        found = known or self._read(token, now)
        try:
            self._check_alive(found, now)
        except Unauthenticated:
            self._verified.pop(token, None)
            raise
        if known:
            self._verified.move_to_end(token)
        else:
            self._remember(token, found)
        return found.principal

    def forget_session(self, session_id: UUID) -> None:
        """Refuse the session's tokens from now on."""
        self._revocations.forget_session(session_id)

    @property
    def remembered(self) -> int:
        """How many verified tokens are remembered."""
        return len(self._verified)

    def _check_alive(self, found: _Verified, now: datetime) -> None:
        if now >= self._verifiers[found.kid].end:
            raise credential_invalid()
        principal = found.principal
        if now >= principal.expire_time:
            raise Unauthenticated(
                "the access token has expired; refresh it",
                reason="TOKEN_EXPIRED",
                metadata={"expired_at": rfc3339(principal.expire_time)},
            )
        self._revocations.check(principal)

    def _remember(self, token: str, found: _Verified) -> None:
        self._verified[token] = found
        if len(self._verified) > self._cache_size:
            self._verified.popitem(last=False)

    def _read(self, token: str, now: datetime) -> _Verified:
        try:
            kid = kid_of(token)
            verifier = self._verifiers[kid]
            # The key knows how it signs; a token that says otherwise is refused (RFC 8725, 3.1).
            allowed = [verifier.algorithm]
            payload = self._signatures.decode(token, verifier.public, algorithms=allowed)
            return _Verified(self._rules.principal(payload, now), kid)
        except (KeyError, ValueError, RecursionError, jwt.PyJWTError):
            raise credential_invalid() from None
