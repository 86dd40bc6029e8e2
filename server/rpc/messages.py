"""A call's messages: bytes in, checked and parsed; messages out, serialized and sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from server.core.errors import DomainError, FieldViolation, ValidationFailed
from server.rpc.call import Call
from server.rpc.methods import Method

Context = grpc.aio.ServicerContext[Any, Any]

READ_SECONDS = 10.0
"""A client that has not sent its one message by then loses its call, whatever its deadline."""

WRITE_SECONDS = 20.0
"""A client that takes nothing for so long loses its stream."""


async def read_one(context: Context) -> bytes:
    """Wait for the one message of a call whose client does not stream.

    Raises:
        ValidationFailed: the client ended its side without one.
        TimeoutError: the client sent none for READ_SECONDS.
    """
    async with asyncio.timeout(READ_SECONDS):
        raw = await context.read()
    if raw is grpc.aio.EOF:
        raise ValidationFailed(
            [FieldViolation("message", "must be sent: the call ended without a request")]
        )
    return bytes(raw)


async def read_all(method: Method, call: Call, context: Context) -> AsyncIterator[Message]:
    """Yield each message of a client that streams.

    A read that is cancelled loses the message it waited for and every later one, so it has no
    time limit here: whoever needs one puts a queue in between.
    """
    while (raw := await context.read()) is not grpc.aio.EOF:
        yield parsed(method, call, raw)


def parsed(method: Method, call: Call, raw: bytes) -> Message:
    """Return the request.

    Raises:
        ValidationFailed: the bytes are too many for the method, or no such message.
        ResourceNotFound: the caller may ask for its own alone, and this is not.
    """
    call.messages_in += 1
    call.bytes_in += len(raw)
    limit = method.policy.max_request_bytes
    if limit and len(raw) > limit:
        raise ValidationFailed([FieldViolation("message", f"must have at most {limit} bytes")])
    try:
        request = method.request.FromString(raw)
    except DecodeError:
        name = method.request.DESCRIPTOR.name
        description = f"is not a well-formed {name} (broken protobuf, or text that is not UTF-8)"
        raise ValidationFailed([FieldViolation("message", description)]) from None
    if call.audit is not None:
        call.audit.describe(request)
    if call.caller is not None:
        method.policy.authorize_request(call.caller, request)
    return request


def serialized(call: Call, answer: Message, limit: int) -> bytes:
    """Return the answer's bytes.

    Raises:
        DomainError: ANSWER_TOO_LARGE, they are more than `limit`. grpc would end such a call
            with a status that tells nobody what to do.
    """
    raw = answer.SerializeToString()
    if len(raw) > limit:
        raise DomainError(
            "the answer is larger than this server sends; ask for a smaller page or view",
            reason="ANSWER_TOO_LARGE",
            metadata={"limit_bytes": str(limit), "answer_bytes": str(len(raw))},
        )
    call.messages_out += 1
    call.bytes_out += len(raw)
    return raw


async def write_all(
    call: Call, answers: AsyncIterator[Message], limit: int, context: Context
) -> None:
    """Send each answer as soon as it is there and the client takes it.

    Raises:
        DomainError: SLOW_CONSUMER, the client took nothing for WRITE_SECONDS;
            ANSWER_TOO_LARGE, as `serialized`.
    """
    async with aclosing(answers):  # type: ignore[type-var]  # servicers are async generators
        async for answer in answers:
            raw = serialized(call, answer, limit)
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await context.write(raw)
            except TimeoutError:
                raise DomainError(
                    "the client reads too slowly; resume when it can keep up",
                    reason="SLOW_CONSUMER",
                    retry_delay=timedelta(seconds=1),
                ) from None
