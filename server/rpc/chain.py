"""The interceptors in the order that every call passes them, outermost first.

1. The access log sees every call, also those that a later step refuses.
2. So do metrics and traces, where they are wanted; the log's line then names the trace.
3. The drain gate refuses before anything is spent on a call that must go elsewhere.
4. Authentication comes before authorization, which needs to know the caller; both come
   before the message is read, so that a stranger's bytes are never parsed (AIP-211).
5. Limits come behind rights: whether there is a place, then what the caller may ask for, so
   that it costs no tokens to be told that there is none.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from server.rpc.access_log import AccessLog
from server.rpc.admission import AdmissionCheck
from server.rpc.auth import Authentication, Authorization
from server.rpc.boundary import Interceptor
from server.rpc.drain import DrainGate
from server.rpc.rate import RateLimits

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@dataclass(frozen=True, slots=True)
class Chain:
    """Every step by its name; `ordered` is the order of the fields."""

    access_log: AccessLog
    observers: Sequence[Interceptor]
    drain_gate: DrainGate
    authentication: Authentication
    authorization: Authorization
    admission_check: AdmissionCheck
    rate_limits: RateLimits

    def ordered(self) -> tuple[Interceptor, ...]:
        """Return the steps, outermost first."""
        return (
            self.access_log,
            *self.observers,
            self.drain_gate,
            self.authentication,
            self.authorization,
            self.admission_check,
            self.rate_limits,
        )


def request_ids(
    random_bytes: Callable[[int], bytes],
) -> Callable[[Mapping[str, str | bytes]], str]:
    """Return what names a call: the client's `x-request-id` if it is a plain word, else 16 hex."""

    def request_id(metadata: Mapping[str, str | bytes]) -> str:
        sent = metadata.get("x-request-id")
        if isinstance(sent, str) and _REQUEST_ID.fullmatch(sent):
            return sent
        return random_bytes(8).hex()

    return request_id
