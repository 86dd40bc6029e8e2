"""The audit trail of calls: a record from the rule and the request, stored before the answer.

What a method keeps is said by `audit` of its rule. A caller that is refused before anybody knows
who it is leaves no record, only its line in the access log: strangers must not fill a table, and
to refuse what is too much must cost nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.message import Message
from structlog.typing import FilteringBoundLogger

from server.core.audit import AuditRecord
from server.core.errors import DomainError
from server.core.resource_names import is_resource_name
from server.rpc.call import Call
from server.rpc.methods import Method
from server.rpc.policy import AuditLevel

STORE_SECONDS = 1.0
"""An answer waits no longer for its record."""

Store = Callable[[AuditRecord], Awaitable[None]]
"""Stores a record by itself, outside of any change."""

Describe = Callable[[Message], Mapping[str, Any]]
"""Turns a request into what may be kept of it."""


class AuditTrail:
    """Opens a record for each call that is to be audited and sees to it that it is kept."""

    def __init__(self, store: Store, describe: Describe, log: FilteringBoundLogger) -> None:
        self._store = store
        self._describe = describe
        self._log = log

    def begin(self, call: Call, method: Method) -> None:
        """Open the record of a call that is to be audited."""
        level = method.policy.audit
        if level is AuditLevel.NONE:
            return

        def read(record: AuditRecord, request: Message) -> None:
            if call.caller is not None:
                record.principal, record.credential = call.caller.name, call.caller.credential
            record.target = target_of(request)
            if level is AuditLevel.REQUEST:
                record.request = self._describe(request)

        call.audit = AuditRecord(
            call.method,
            call.request_id,
            peer_address=call.peer_address,
            user_agent=call.user_agent,
            read=read,
        )

    async def end(self, call: Call, error: DomainError | None) -> None:
        """Write the record's line, and store it unless it was stored with the change it tells of.

        What failed is stored in any case: a change that was taken back took its record with it.
        The call is answered also where that fails: what it did is done, and the line tells of it.
        """
        record = call.audit
        if record is None or not (record.described or _is_denial(error)):
            return
        if call.caller is not None:
            record.principal, record.credential = call.caller.name, call.caller.credential
        if error is not None:
            record.outcome = error.reason
        if record.outcome == "VALIDATION_FAILED":
            # It may have an address or a password in the wrong field.
            record.request = None
        self._log.info("audit", **_line(record))
        if (record.stored and error is None) or _is_noise(record):
            return
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._store(record)
        except Exception as failure:  # noqa: BLE001  # whatever it is, the answer stands
            self._log.error("audit record not stored", request_id=call.request_id, exc_info=failure)


def _is_denial(error: DomainError | None) -> bool:
    """Tell whether a caller asked for what it may not do; what is too much leaves no record."""
    return error is not None and error.reason in {"PERMISSION_DENIED", "STEP_UP_REQUIRED"}


def _is_noise(record: AuditRecord) -> bool:
    """Tell whether a stranger sent what could not do anything: garbage must not fill a table."""
    return not record.principal and record.outcome in {"CREDENTIAL_INVALID", "VALIDATION_FAILED"}


def target_of(request: Message) -> str:
    """Return the name of the resource that a request is about; empty where it names none.

    That is its `name`, its `parent`, or the name of the resource in it (AIP-131 to 135). What is
    no name is left out: it may be an address or a password that went into the wrong field.
    """
    name = _name_in(request)
    return name if is_resource_name(name) else ""


def _name_in(request: Message) -> str:
    for field in ("name", "parent"):
        if field in request.DESCRIPTOR.fields_by_name:
            return str(getattr(request, field))
    for _, value in request.ListFields():
        if isinstance(value, Message) and "name" in value.DESCRIPTOR.fields_by_name:
            return str(value.name)  # type: ignore[attr-defined]  # its descriptor has it
    return ""


def _line(record: AuditRecord) -> dict[str, object]:
    fields = {
        "method": record.method,
        "outcome": record.outcome,
        "principal": record.principal,
        "credential": record.credential,
        "target": record.target,
        "peer_address": record.peer_address,
        "request_id": record.request_id,
    }
    return {name: value for name, value in fields.items() if value}
