"""request_id at the boundary: what makes two requests the same, and how an answer comes again."""

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from google.protobuf.message import Message

from server.core.idempotency import Repeatable, Replay
from server.rpc.call import Call

REPLAY_TRAILER: Final = "x-interview-idempotent-replay"
_NOT_COMPARED: Final = ("request_id", "validate_only")

T = TypeVar("T")
M = TypeVar("M", bound=Message)


class RequestIds:
    """Tells repeated calls from others.

    Requests are compared by a hash with a key that is derived from the server's secret: a
    request may hold a password, and a plain hash of it could be guessed.
    """

    def __init__(self, secret: bytes) -> None:
        derivation = HKDF(SHA256(), length=32, salt=None, info=b"interview request id")
        self._key = derivation.derive(secret)

    def repeatable(
        self, call: Call, request: Message, request_id: UUID | None, answer: Callable[[T], bytes]
    ) -> Repeatable[T] | None:
        """Return the call as one to be done once; None where it has no request_id."""
        if request_id is None:
            return None
        compared = type(request)()
        compared.CopyFrom(request)
        for name in _NOT_COMPARED:
            if name in compared.DESCRIPTOR.fields_by_name:
                compared.ClearField(name)
        content = compared.SerializeToString(deterministic=True)
        return Repeatable(
            call.principal.user_id,
            call.method,
            request_id,
            hmac.digest(self._key, content, sha256),
            answer,
        )


def replayed(call: Call, replay: Replay, kind: type[M]) -> M:
    """Return the first answer, and tell by a trailer that it is one."""
    call.trailers.append((REPLAY_TRAILER, "true"))
    return kind.FromString(replay.answer)
