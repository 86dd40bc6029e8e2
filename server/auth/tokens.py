"""Tokens: signed ones for calls (RFC 9068), opaque ones for the next pair.

A JWT library checks less than it seems to: it takes a fractional or textual `exp`, our
audience among others, any `typ` and repeated keys (RFC 8725 asks for more). What an access
token must be is therefore said here in full; the library makes and checks the signature.
"""

import base64
import hashlib
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt

from server.auth.domain import credential_invalid, token_revoked
from server.auth.keys import SigningKey
from server.core.clock import Clock, rfc3339
from server.core.errors import Unauthenticated
from server.core.principal import Principal
from server.core.roles import permissions_of

MAX_TOKEN_CHARACTERS: Final = 4096
LEEWAY: Final = timedelta(seconds=30)
"""How far ahead of ours the clock of the replica that signed may be."""

_ALGORITHM: Final = "EdDSA"
_TYPE: Final = "at+jwt"
_MAX_HEADER_CHARACTERS: Final = 512
_MAX_ROLES: Final = 32
_MAX_ENDED: Final = 100_000
_CLAIMS: Final = frozenset({"iss", "aud", "sub", "sid", "jti", "roles", "auth_time", "iat", "exp"})
_TOKEN_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_ROLE = re.compile(r"[a-z][a-z-]{0,31}")
_REFRESH_TOKEN = re.compile(r"rt_[A-Za-z0-9_-]{43}")


class RefreshTokens:
    """Opaque tokens of 256 random bits, kept as their SHA-256.

    A plain hash is enough: nobody guesses 256 random bits, however fast the hash.
    """

    def __init__(self, randomness: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._randomness = randomness

    def new(self) -> str:
        """Return a new token."""
        return f"rt_{_base64url(self._randomness(32))}"

    def digest(self, token: str) -> bytes | None:
        """Return the hash under which a token is kept; None for what cannot be one."""
        if not _REFRESH_TOKEN.fullmatch(token):
            return None
        return hashlib.sha256(token.encode("ascii")).digest()


class AccessTokens:
    """Issues access tokens and tells whose they are.

    A token that was verified is remembered, `cache_size` at most, since its signature costs
    more than all the rest of a call's checks; it is never accepted past its `exp`.

    The sessions that ended in this process are remembered for as long as a token of theirs
    can be alive; a session that ended elsewhere is found out at its next refresh.
    """

    def __init__(
        self,
        signing: SigningKey,
        *,
        issuer: str,
        audience: str,
        clock: Clock,
        lifetime: timedelta = timedelta(minutes=15),
        randomness: Callable[[int], bytes] = secrets.token_bytes,
        cache_size: int = 10_000,
    ) -> None:
        self._signing = signing
        self._keys = {signing.kid: signing.public}
        self._signatures = jwt.PyJWS(algorithms=[_ALGORITHM])
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._lifetime = lifetime
        self._randomness = randomness
        self._cache_size = cache_size
        self._verified: OrderedDict[str, Principal] = OrderedDict()
        self._ended: OrderedDict[UUID, datetime] = OrderedDict()

    def issue(
        self, user_id: UUID, session_id: UUID, roles: tuple[str, ...], auth_time: datetime
    ) -> tuple[str, datetime]:
        """Return a token and when it ends. `auth_time` is when the password was given."""
        issued = int(self._clock().timestamp())
        expires = issued + int(self._lifetime.total_seconds())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": _base64url(self._randomness(16)),
            "roles": list(roles),
            "auth_time": int(auth_time.timestamp()),
            "iat": issued,
            "exp": expires,
        }
        headers = {"typ": _TYPE, "kid": self._signing.kid}
        token = jwt.encode(claims, self._signing.private, algorithm=_ALGORITHM, headers=headers)
        return token, datetime.fromtimestamp(expires, UTC)

    def verify(self, token: str) -> Principal:
        """Return whose token it is.

        Raises:
            Unauthenticated: TOKEN_EXPIRED, TOKEN_REVOKED when its session ended in this
                process, CREDENTIAL_INVALID with one fixed text for anything else.
        """
        now = self._clock()
        principal = self._verified.get(token)
        known = principal is not None
        if principal is None:
            principal = self._read(token, now)
        try:
            self._check_alive(principal, now)
        except Unauthenticated:
            self._verified.pop(token, None)
            raise
        if known:
            self._verified.move_to_end(token)
        else:
            self._remember(token, principal)
        return principal

    def forget_session(self, session_id: UUID) -> None:
        """Refuse the session's tokens from now on."""
        now = self._clock()
        self._ended.setdefault(session_id, now)
        # A replica's clock may be ahead by the leeway, and its tokens end later by as much.
        dead = now - self._lifetime - LEEWAY
        while next(iter(self._ended.values())) < dead or len(self._ended) > _MAX_ENDED:
            self._ended.popitem(last=False)

    @property
    def remembered(self) -> int:
        """How many verified tokens are remembered."""
        return len(self._verified)

    def _check_alive(self, principal: Principal, now: datetime) -> None:
        if now >= principal.expire_time:
            raise Unauthenticated(
                "the access token has expired; refresh it",
                reason="TOKEN_EXPIRED",
                metadata={"expired_at": rfc3339(principal.expire_time)},
            )
        if self._ended and principal.session_id in self._ended:
            raise token_revoked(self._ended[principal.session_id])

    def _remember(self, token: str, principal: Principal) -> None:
        self._verified[token] = principal
        if len(self._verified) > self._cache_size:
            self._verified.popitem(last=False)

    def _read(self, token: str, now: datetime) -> Principal:
        try:
            return self._principal(_object(self._signed_payload(token)), now)
        except (ValueError, RecursionError, jwt.PyJWTError):
            raise credential_invalid() from None

    def _signed_payload(self, token: str) -> bytes:
        """Return the payload of a token whose form, header and signature are right."""
        _require(len(token) <= MAX_TOKEN_CHARACTERS)
        segments = token.split(".")
        _require(len(segments) == 3)
        for segment in segments:
            _require(segment == _base64url(base64.b64decode(segment + "==", altchars=b"-_")))
        _require(len(segments[0]) <= _MAX_HEADER_CHARACTERS)
        header = _object(base64.urlsafe_b64decode(segments[0] + "=="))
        _require(header.keys() == {"alg", "typ", "kid"})
        _require(header["alg"] == _ALGORITHM and header["typ"] == _TYPE)
        kid = header["kid"]
        _require(isinstance(kid, str) and kid in self._keys)
        payload: bytes = self._signatures.decode(token, self._keys[kid], algorithms=[_ALGORITHM])
        return payload

    def _principal(self, claims: dict[str, Any], now: datetime) -> Principal:
        _require(claims.keys() == _CLAIMS)
        _require(claims["iss"] == self._issuer and claims["aud"] == self._audience)
        for name in ("auth_time", "iat", "exp"):
            _require(type(claims[name]) is int and claims[name] >= 0)
        latest = int((now + LEEWAY).timestamp())
        _require(claims["auth_time"] <= latest and claims["iat"] <= latest)
        _require(0 < claims["exp"] - claims["iat"] <= self._lifetime.total_seconds())
        _require(isinstance(claims["jti"], str) and _TOKEN_ID.fullmatch(claims["jti"]) is not None)
        roles = _roles(claims["roles"])
        return Principal(
            user_id=_uuid(claims["sub"]),
            session_id=_uuid(claims["sid"]),
            roles=roles,
            permissions=permissions_of(roles),
            auth_time=datetime.fromtimestamp(claims["auth_time"], UTC),
            expire_time=datetime.fromtimestamp(claims["exp"], UTC),
            token_id=claims["jti"],
        )


def _require(condition: bool) -> None:  # noqa: FBT001  # reads as the sentence it is
    if not condition:
        raise ValueError


def _object(text: bytes) -> dict[str, Any]:
    """Parse a JSON object strictly: UTF-8, no key twice, no NaN."""
    value = json.loads(
        text.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant
    )
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004  # one kind of error for whatever is wrong with a token
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    _require(len(result) == len(pairs))
    return result


def _refuse_constant(_name: str) -> None:
    raise ValueError


def _uuid(value: object) -> UUID:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004  # one kind of error for whatever is wrong with a token
    parsed = UUID(value)
    _require(str(parsed) == value)
    return parsed


def _roles(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError  # noqa: TRY004  # one kind of error for whatever is wrong with a token
    _require(len(value) <= _MAX_ROLES)
    _require(all(isinstance(role, str) and _ROLE.fullmatch(role) for role in value))
    _require(len(set(value)) == len(value))
    return tuple(value)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
