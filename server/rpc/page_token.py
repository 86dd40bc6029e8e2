"""Page tokens (AIP-158): sealed, bound to the method and to the request's arguments.

A token says after which row the next page starts. It is encrypted, so that nobody builds on
its inside, and it carries a short hash of every argument, so that a mismatch can be named.
It is not bound to the caller: whoever sends it is authorized anew. It may carry the time of the
first page, from which `now()` counts on all of them.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from server.core.clock import Clock
from server.core.errors import DomainError, PageTokenInvalid, PageTokenMismatch
from server.core.paging import Key, PageRequest
from server.rpc.sealing import Sealing

LIFETIME = timedelta(hours=72)


class PageTokens:
    """Seals and opens page tokens with a key derived from the server's secret."""

    def __init__(self, secret: bytes, clock: Clock, random_bytes: Callable[[int], bytes]) -> None:
        self._sealing = Sealing(secret, b"interview page token", random_bytes)
        self._clock = clock

    def seal(
        self,
        method: str,
        arguments: Mapping[str, object],
        after: Key | None,
        time: datetime | None = None,
    ) -> str:
        """Return the token of the page after a row; empty for the end of the list.

        `time` is that of the first page, as `page` returned it.
        """
        if after is None:
            return ""
        content = {"after": after, "args": _hashes(arguments), "at": self._clock().timestamp()}
        if time is not None:
            content["time"] = time.isoformat()
        return self._sealing.seal(method, content)

    def open(self, method: str, arguments: Mapping[str, object], token: str) -> Key | None:
        """Return the keys of the row before the page; None for an empty token.

        Raises:
            PageTokenInvalid: not one of this method's tokens.
            PageTokenMismatch: the arguments changed; `changed_fields` names them.
            DomainError: PAGE_TOKEN_EXPIRED, older than 72 hours.
        """
        return self.page(method, arguments, token, size=0).after

    def page(
        self,
        method: str,
        arguments: Mapping[str, object],
        token: str,
        *,
        size: int,
        skip: int = 0,
    ) -> PageRequest:
        """Return the page that a token stands for, an empty one for the first page.

        `skip` counts from the first page alone. The page's time is the present for the first
        page, and for the others what was sealed with their tokens.

        Raises:
            PageTokenInvalid, PageTokenMismatch, DomainError: see `open`.
        """
        if not token:
            return PageRequest(size, None, skip, self._clock())
        content = self._content(method, arguments, token)
        time = content.get("time")
        return PageRequest(
            size, tuple(content["after"]), 0, datetime.fromisoformat(time) if time else None
        )

    def _content(self, method: str, arguments: Mapping[str, object], token: str) -> dict[str, Any]:
        content = self._decrypt(method, token)
        hashes = _hashes(arguments)
        changed = sorted(key for key in hashes if hashes[key] != content["args"].get(key))
        if changed:
            raise PageTokenMismatch(
                f"page_token was made for another {', '.join(changed)}; send the same arguments"
                " or start without a token",
                metadata={"changed_fields": ",".join(changed)},
            )
        self._check_age(content["at"])
        return content

    def _decrypt(self, method: str, token: str) -> dict[str, Any]:
        try:
            return self._sealing.open(method, token)
        except ValueError:
            raise PageTokenInvalid(
                "page_token is not one that this method gave out; start without a token"
            ) from None

    def _check_age(self, sealed_at: float) -> None:
        end = datetime.fromtimestamp(sealed_at, tz=self._clock().tzinfo) + LIFETIME
        if self._clock() > end:
            raise DomainError(
                "page_token is older than 72 hours; start without a token",
                reason="PAGE_TOKEN_EXPIRED",
                metadata={"expired_at": end.isoformat()},
            )


def _hashes(arguments: Mapping[str, object]) -> dict[str, str]:
    return {
        name: hashlib.blake2b(repr(value).encode(), digest_size=4).hexdigest()
        for name, value in arguments.items()
    }
