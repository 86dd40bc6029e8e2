"""Cursors: where a client goes on, sealed for the methods that take them.

A cursor has no end of its own: whoever opens one decides whether what it points at is still kept.
It is not bound to the caller: whoever sends it is authorized anew.
"""

from collections.abc import Callable, Mapping
from typing import Any

from server.core.clock import Clock
from server.core.errors import DomainError
from server.rpc.sealing import Sealing


class Cursors:
    """Seals and opens cursors with a key derived from the server's secret."""

    def __init__(self, secret: bytes, clock: Clock, random_bytes: Callable[[int], bytes]) -> None:
        self._sealing = Sealing(secret, b"interview cursor", random_bytes)
        self._clock = clock

    def seal(self, purpose: str, content: Mapping[str, Any]) -> str:
        """Return the cursor of a purpose, a word that says who takes it back.

        `time`, the moment in seconds since 1970, is added unless the content has it.
        """
        return self._sealing.seal(purpose, {"time": self._clock().timestamp(), **content})

    def open(self, purpose: str, text: str) -> dict[str, Any]:
        """Return what was sealed for the purpose.

        Raises:
            DomainError: CURSOR_INVALID, it is no cursor, is damaged, or is for something else.
        """
        try:
            return self._sealing.open(purpose, text)
        except ValueError:
            raise DomainError(
                "the cursor is not one that this method takes, or it is damaged; send it as it"
                " came, or begin anew without one",
                reason="CURSOR_INVALID",
            ) from None
