"""The record of one call: made when its headers arrive, filled on the way, logged at its end.

Context variables set by an inner step are gone when an outer step ends; this object is not.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final
from urllib.parse import unquote

import grpc

from server.core.audit import AuditRecord
from server.core.errors import Unauthenticated
from server.core.principal import Principal
from server.rpc.stream_watch import OpenStream

REVISION_TRAILER: Final = "x-interview-revision"


@dataclass(slots=True)
class Call:
    """One call. `metadata` holds the last value of each key, keys in lower case."""

    method: str
    metadata: dict[str, str | bytes]
    request_id: str
    started: float = field(default_factory=perf_counter)
    peer: str = ""
    deadline_seconds: float | None = None
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    messages_out: int = 0
    trailers: list[tuple[str, str]] = field(default_factory=list)
    caller: Principal | None = None
    audit: AuditRecord | None = None
    entered: int = 0
    stream: OpenStream | None = None
    trace: object | None = None
    trace_id: str = ""

    def tell_revision(self, revision: int) -> None:
        """Say in the trailers which revision of the catalogue the call has made, or found."""
        self.trailers.append((REVISION_TRAILER, str(revision)))

    @property
    def principal(self) -> Principal:
        """The caller; raises Unauthenticated where nobody signed in."""
        if self.caller is None:
            raise Unauthenticated("sign in first", reason="CREDENTIAL_MISSING")
        return self.caller

    @property
    def audited(self) -> AuditRecord:
        """What the audit trail is to say of the call; for methods whose rule asks for it."""
        if self.audit is None:
            raise LookupError(f"{self.method} has no audit level")
        return self.audit

    @property
    def peer_address(self) -> str:
        """The other end's address without scheme and port; empty where there is none."""
        address = unquote(self.peer)
        kind, _, rest = address.partition(":")
        if kind not in {"ipv4", "ipv6"}:
            return ""
        return rest.rpartition(":")[0].strip("[]")

    @property
    def user_agent(self) -> str:
        """What the client calls itself."""
        return str(self.metadata.get("user-agent", ""))

    def text(self, key: str) -> str:
        """Return a header's value; empty where it is absent or binary."""
        value = self.metadata.get(key, "")
        return value if isinstance(value, str) else ""


current_call: ContextVar[Call] = ContextVar("current_call")
"""The call that runs in this task and in the tasks it made; nothing may be decided by it."""
