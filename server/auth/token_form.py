"""What an access token must be, to the letter (RFC 9068, RFC 8725).

A JWT library checks less than it seems to: it takes a fractional or textual `exp`, our
audience among others, any `typ` and repeated keys. So all of it is said here; the library
makes and checks the signature alone.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from server.auth.strict_json import base64url_bytes, strict_object
from server.core.principal import Principal
from server.core.roles import permissions_of

MAX_TOKEN_CHARACTERS: Final = 4096
TYPE: Final = "at+jwt"
ROLES_TIME: Final = "roles_time"
"""The claim that tells of which change of the user's roles a token knows, in microseconds: what is
compared with it must be told apart exactly, by no clock but that of the change."""
LEEWAY: Final = timedelta(seconds=30)
"""How far ahead of ours the clock of the replica that signed may be."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MICROSECOND: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_MAX_HEADER_CHARACTERS: Final = 512
_MAX_ROLES: Final = 32
_MAX_SCOPES: Final = 64
_CLAIMS: Final = frozenset({"iss", "aud", "sub", "sid", "jti", "roles", "auth_time", "iat", "exp"})
_TOKEN_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_ROLE = re.compile(r"[a-z][a-z-]{0,31}")
_SCOPE = re.compile(r"[a-zA-Z]+(\.[a-zA-Z]+){1,4}")


def kid_of(token: str) -> str:
    """Return the name of the key that signed, of a token whose form and header are right.

    Nothing is parsed of one that is too long.

    Raises:
        ValueError, RecursionError: it is no access token.
    """
    _require(len(token) <= MAX_TOKEN_CHARACTERS)
    segments = token.split(".")
    _require(len(segments) == 3)
    _require(len(segments[0]) <= _MAX_HEADER_CHARACTERS)
    header, *_ = [base64url_bytes(segment) for segment in segments]
    fields = strict_object(header)
    # No jwk, jku, x5u or crit: the key is ours and never the token's (RFC 8725, 3.10).
    _require(fields.keys() == {"alg", "typ", "kid"})
    _require(fields["typ"] == TYPE)
    kid = fields["kid"]
    if not isinstance(kid, str):
        raise ValueError  # noqa: TRY004  # one kind of error for whatever is wrong with a token
    return kid


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What the claims of our tokens say, and the longest that one lives."""

    issuer: str
    audience: str
    lifetime: timedelta

    def principal(self, payload: bytes, now: datetime) -> Principal:
        """Read the payload of a token whose signature is right.

        Raises:
            ValueError, RecursionError: a claim is missing, too many or wrong.
        """
        claims = strict_object(payload)
        scopes = _scopes(claims.pop("scope")) if "scope" in claims else None
        roles_time = _moment(claims.pop(ROLES_TIME)) if ROLES_TIME in claims else None
        _require(claims.keys() == _CLAIMS)
        _require(claims["iss"] == self.issuer and claims["aud"] == self.audience)
        self._check_times(claims, now)
        _require(isinstance(claims["jti"], str) and _TOKEN_ID.fullmatch(claims["jti"]) is not None)
        roles = _roles(claims["roles"])
        permissions = permissions_of(roles)
        return Principal(
            user_id=_uuid(claims["sub"]),
            session_id=_uuid(claims["sid"]),
            roles=roles,
            permissions=permissions if scopes is None else permissions & scopes,
            auth_time=datetime.fromtimestamp(claims["auth_time"], UTC),
            issue_time=datetime.fromtimestamp(claims["iat"], UTC),
            expire_time=datetime.fromtimestamp(claims["exp"], UTC),
            token_id=claims["jti"],
            roles_time=roles_time,
        )

    def _check_times(self, claims: dict[str, Any], now: datetime) -> None:
        for name in ("auth_time", "iat", "exp"):
            _require(type(claims[name]) is int and claims[name] >= 0)
        latest = int((now + LEEWAY).timestamp())
        _require(claims["auth_time"] <= latest and claims["iat"] <= latest)
        _require(0 < claims["exp"] - claims["iat"] <= self.lifetime.total_seconds())


def _require(condition: bool) -> None:  # noqa: FBT001  # reads as the sentence it is
    if not condition:
        raise ValueError


def microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(value: object) -> datetime:
    if type(value) is not int:
        raise ValueError
    _require(0 <= value <= _LAST_MICROSECOND)
    return _EPOCH + timedelta(microseconds=value)


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


def _scopes(value: object) -> frozenset[str]:
    """Read names of permissions with one space between them (RFC 9068, 2.2.3)."""
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004  # one kind of error for whatever is wrong with a token
    names = value.split(" ", _MAX_SCOPES)
    _require(len(names) <= _MAX_SCOPES)
    _require(all(_SCOPE.fullmatch(name) for name in names))
    _require(len(set(names)) == len(names))
    return frozenset(names)
