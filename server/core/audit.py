"""What the audit trail says of one call: who did what to whom, from where, and how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class AuditRecord:
    """One call as the audit trail keeps it.

    It is made when the call begins and handed down to whoever changes something, who stores it
    in the transaction of the change and sets `stored`: neither is there without the other. What
    ends without a change is stored at the call's end.

    `principal` and `credential` are resource names, empty where nobody signed in; `target` is
    the resource that the call is about; `request` has no field that is marked as secret;
    `outcome` is OK or the reason of the error.
    """

    method: str
    request_id: str
    peer_address: str = ""
    user_agent: str = ""
    principal: str = ""
    credential: str = ""
    target: str = ""
    request: Mapping[str, Any] | None = None
    outcome: str = "OK"
    stored: bool = False
    described: bool = False
    read: Callable[["AuditRecord", Any], None] | None = field(default=None, repr=False)

    def describe(self, request: object) -> None:
        """Take from the first request what is to be kept of it."""
        if self.described:
            return
        self.described = True
        if self.read is not None:
            self.read(self, request)
