"""google.rpc.Status of an error, small enough to arrive everywhere.

ErrorInfo and RequestInfo always; ResourceInfo, QuotaFailure, RetryInfo, BadRequest and
PreconditionFailure by what the error knows, and what a servicer attached, which keeps it small.
DebugInfo never: what it would hold is for the log.
"""

import re
from collections.abc import Iterator, MutableSequence
from typing import Final, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from server.core.errors import DomainError, QuotaViolation
from server.rpc.status import code_of

DOMAIN: Final = "interview-api"

MAX_DETAILS_BYTES: Final = 4096
"""Of the serialized Status: with the message and base64 the trailers stay below 8 KiB, which
is all that a client takes by default (gRPC core, grpc-java)."""

MAX_MESSAGE_BYTES: Final = 1000
"""Of a message as it is sent: percent-encoded, three bytes for each that is not ASCII."""

_MAX_METADATA_BYTES = 1536
_MAX_TEXT_BYTES = 512
_MAX_NAME_BYTES = 200
_MAX_VIOLATIONS = 128
_ANY_BYTES = 64
"""What google.protobuf.Any adds to a detail, its type's URL above all."""
_LENGTH_BYTES = 4
"""What comes before each message of a list."""
_ROOM_BYTES = 192
"""For the two lists themselves, and for `violations_truncated`."""

_FIT = re.compile(r"[ -$&-~]*")
"""What is sent as it is: our own messages, which a flood of refusals repeats."""

M = TypeVar("M", bound=Message)


def one_line(text: str) -> str:
    """Make a text fit for a status message: one line, valid Unicode, MAX_MESSAGE_BYTES."""
    if len(text) <= MAX_MESSAGE_BYTES and _FIT.fullmatch(text):
        return text
    plain, sent = _plain(text[:MAX_MESSAGE_BYTES]), 0
    for position, character in enumerate(plain):
        as_it_is = character.isascii() and character != "%"
        sent += 1 if as_it_is else 3 * len(character.encode())
        if sent > MAX_MESSAGE_BYTES:
            return plain[:position]
    return plain


def rich_status(error: DomainError, request_id: str) -> status_pb2.Status:
    """Build the status with its details, at most MAX_DETAILS_BYTES.

    Violations that do not fit are left out from the end; ErrorInfo's metadata then says in
    `violations_truncated` how many.
    """
    status = status_pb2.Status(code=code_of(error).value[0], message=one_line(error.message))
    info = details.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(_bounded(error)))
    if error.reason == "INTERNAL":
        info.metadata["request_id"] = request_id
    bad, broken = _bad_request(error), _precondition_failure(error)
    fixed = [info, details.RequestInfo(request_id=request_id), *_circumstances(error)]
    fixed += [message for message in error.attached if isinstance(message, Message)]
    room = MAX_DETAILS_BYTES - status.ByteSize() - _ROOM_BYTES
    room -= sum(detail.ByteSize() + _ANY_BYTES for detail in fixed)
    room = _shorten(bad.field_violations, room)
    _shorten(broken.violations, room)
    told = len(bad.field_violations) + len(broken.violations)
    if left_out := len(error.violations) + len(error.preconditions) - told:
        info.metadata["violations_truncated"] = str(left_out)
    for detail in (*fixed, *(failure for failure in (bad, broken) if failure.ByteSize())):
        status.details.add().Pack(detail)
    return status


def domain_error_of(status: status_pb2.Status) -> DomainError:
    """Turn a status that `rich_status` built back into its error, without its violations."""
    info, retry = details.ErrorInfo(reason="INTERNAL"), details.RetryInfo()
    quota = details.QuotaFailure()
    for detail in status.details:
        for known in (info, retry, quota):
            detail.Unpack(known)
    return DomainError(
        status.message,
        reason=info.reason,
        metadata=dict(info.metadata),
        quota=next((QuotaViolation(v.subject, v.description) for v in quota.violations), None),
        retry_delay=retry.retry_delay.ToTimedelta() or None,
    )


def _bounded(error: DomainError) -> Iterator[tuple[str, str]]:
    """Yield the metadata, each value bounded, and so are all of them together."""
    left = _MAX_METADATA_BYTES
    for key, value in error.metadata.items():
        text = _cut(value, min(left, _MAX_TEXT_BYTES))
        left -= len(text.encode())
        yield key, text


def _bad_request(error: DomainError) -> details.BadRequest:
    return details.BadRequest(
        field_violations=[
            details.BadRequest.FieldViolation(
                field=_cut(violation.field, _MAX_NAME_BYTES),
                description=_cut(violation.description, _MAX_TEXT_BYTES),
            )
            for violation in error.violations[:_MAX_VIOLATIONS]
        ]
    )


def _precondition_failure(error: DomainError) -> details.PreconditionFailure:
    return details.PreconditionFailure(
        violations=[
            details.PreconditionFailure.Violation(
                type=violation.type,
                subject=_cut(violation.subject, _MAX_NAME_BYTES),
                description=_cut(violation.description, _MAX_TEXT_BYTES),
            )
            for violation in error.preconditions[:_MAX_VIOLATIONS]
        ]
    )


def _shorten(violations: MutableSequence[M], room: int) -> int:
    """Drop what does not fit from the end, and return how many bytes are left."""
    for number, violation in enumerate(violations):
        room -= violation.ByteSize() + _LENGTH_BYTES
        if room < 0:
            del violations[number:]
            break
    return room


def _circumstances(error: DomainError) -> Iterator[Message]:
    """Yield what it is about, which limit it met, and when to try again."""
    if error.resource is not None:
        yield details.ResourceInfo(
            resource_type=error.resource.resource_type,
            resource_name=_cut(error.resource.name, _MAX_NAME_BYTES),
        )
    if error.quota is not None:
        violation = details.QuotaFailure.Violation(
            subject=_cut(error.quota.subject, _MAX_NAME_BYTES),
            description=_cut(error.quota.description, _MAX_TEXT_BYTES),
        )
        yield details.QuotaFailure(violations=[violation])
    if error.retry_delay is not None:
        delay = Duration()
        delay.FromTimedelta(error.retry_delay)
        yield details.RetryInfo(retry_delay=delay)


def _cut(text: str, size: int) -> str:
    """Return the text on one line, at most so many bytes of UTF-8."""
    return _plain(text[:size]).encode()[:size].decode(errors="ignore")


def _plain(text: str) -> str:
    """Put a space for what cannot be shown: line ends, escapes, halves of a character."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)
