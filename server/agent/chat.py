"""The chat's protocol on one stream: the client's frames in, the session's responses out.

One task reads frames, one runs turns, one stores and queues events; the stream's own task
writes. A frame that cannot be done is answered FrameRejected and the stream goes on; a
broken protocol, a lost credential or the end of the server end it with a status.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from inspect import isawaitable
from uuid import UUID

from server.agent.live import LiveSession
from server.agent.requests import (
    MAX_FRAME_ID,
    busy_policy,
    check_frame,
    check_user_message,
    limits_of,
)
from server.core.clock import Clock
from server.core.errors import DomainError, FieldViolation, Unauthenticated, ValidationFailed
from server.core.principal import Principal
from server.generated.interview.agent.v1 import chat_pb2
from server.rpc.auth import Authenticate
from server.rpc.details import rich_status
from server.rpc.drain import server_draining
from server.rpc.stream_watch import OpenStream
from server.rpc.well_known import duration, timestamp

_LATER_FRAMES = "user_message, cancel_turn, ping, refresh_credential and end_session"
CREDENTIAL_WARNING = timedelta(seconds=60)
DEADLINE_WARNING_SECONDS = 5.0
OPENING_SECONDS = 30.0
_LONGEST_WAIT = timedelta(days=1)
_FATAL = frozenset({"PROTOCOL_VIOLATION", "PERMISSION_DENIED"})
"""What a frame can meet that ends the stream."""


class ChatStream:
    """Follows a client's frames and the stream's clock for a live session."""

    def __init__(
        self,
        live: LiveSession,
        stream: OpenStream,
        *,
        clock: Clock,
        authenticate: Authenticate,
        authorize: Callable[[Principal], None],
        request_id: str,
        draw_turn: Callable[[Principal], None],
    ) -> None:
        self._live = live
        self._stream = stream
        self._clock = clock
        self._authenticate = authenticate
        self._authorize = authorize
        self._request_id = request_id
        self._draw_turn = draw_turn
        self._told_over = False
        stream.end_politely()

    async def read(self, frames: AsyncIterator[chat_pb2.ChatRequest]) -> None:
        """Handle every frame behind the first; at half-close, let the turns end."""
        async for frame in frames:
            await self._live.outbox.room()
            if self._clock() >= self._stream.ending.time:
                raise self._over()
            try:
                await self._handle(frame)
            except DomainError as error:
                if error.reason in _FATAL:
                    raise
                status = rich_status(error, self._request_id)
                self._live.send(
                    in_reply_to=frame.frame_id[:MAX_FRAME_ID],
                    frame_rejected=chat_pb2.FrameRejected(status=status),
                )
        self._live.conversation.close()

    async def watch_credential(self) -> None:
        """Warn before the credential is over, and end the stream when it is."""
        warned: datetime | None = None
        while (now := self._clock()) < (end_time := self._stream.ending.time):
            warn_time = end_time - CREDENTIAL_WARNING
            if now >= warn_time and warned != end_time:
                warned = end_time
                self._live.send(
                    credential_expiring=chat_pb2.CredentialExpiring(expire_time=timestamp(end_time))
                )
            await self._changed_within((end_time if warned == end_time else warn_time) - now)
        raise self._over()

    async def watch_drain(self, draining: asyncio.Event, grace: timedelta) -> None:
        """When the server is asked to stop, finish the running turn and end the stream."""
        await draining.wait()
        self._live.final_error = server_draining()
        self._go_away(chat_pb2.GO_AWAY_REASON_SERVER_DRAINING, grace)
        self._live.drain()

    async def watch_deadline(self, seconds: float) -> None:
        """Say it before the call's own deadline ends the stream."""
        await asyncio.sleep(max(0.0, seconds - DEADLINE_WARNING_SECONDS))
        left = min(seconds, DEADLINE_WARNING_SECONDS)
        self._go_away(chat_pb2.GO_AWAY_REASON_DEADLINE, timedelta(seconds=left))

    async def _changed_within(self, span: timedelta) -> None:
        try:
            # An API key may have no end, which is more seconds than a timer takes.
            async with asyncio.timeout(min(span, _LONGEST_WAIT).total_seconds()):
                await self._stream.changed.wait()
        except TimeoutError:
            pass
        self._stream.changed.clear()

    def _over(self) -> Unauthenticated:
        # Said once, though both who reads and who watches the clock find it out.
        if not self._told_over:
            self._told_over = True
            self._go_away(chat_pb2.GO_AWAY_REASON_CREDENTIAL_EXPIRED, timedelta())
        return self._stream.ending.error

    async def _handle(self, frame: chat_pb2.ChatRequest) -> None:
        check_frame(frame)
        match frame.WhichOneof("frame"):
            case "user_message":
                self._user_message(frame)
            case "cancel_turn":
                self._cancel_turn(frame)
            case "ping":
                self._ping(frame)
            case "refresh_credential":
                await self._refresh_credential(frame)
            case "end_session":
                self._live.end_session()
            case "start" | "resume" as opening:
                raise protocol_violation(_LATER_FRAMES, opening)
            case _:
                # A member that only a newer server knows: what came before it still counts.
                description = f"must have one of {_LATER_FRAMES}"
                raise ValidationFailed([FieldViolation("frame", description)])

    def _user_message(self, frame: chat_pb2.ChatRequest) -> None:
        message = frame.user_message
        turn_id = check_user_message(message)
        self._draw_turn(self._stream.principal)
        fresh = self._live.conversation.submit(
            turn_id,
            message.text,
            busy_policy(message),
            limits_of(message.budget, self._live.session.options.limits),
            frame.frame_id,
        )
        if not fresh:
            self._accept(frame, no_effect=True)

    def _cancel_turn(self, frame: chat_pb2.ChatRequest) -> None:
        sent = frame.cancel_turn.turn_id
        try:
            turn_id = UUID(sent) if sent else None
        except ValueError:
            raise ValidationFailed(
                [FieldViolation("cancel_turn.turn_id", "must be a UUID, or empty for any turn")]
            ) from None
        cancelled = self._live.conversation.cancel(turn_id)
        self._accept(frame, no_effect=not cancelled)

    def _ping(self, frame: chat_pb2.ChatRequest) -> None:
        if len(frame.ping.payload) > 64:
            raise ValidationFailed([FieldViolation("ping.payload", "must have at most 64 bytes")])
        self._live.send(in_reply_to=frame.frame_id, pong=chat_pb2.Pong(payload=frame.ping.payload))

    async def _refresh_credential(self, frame: chat_pb2.ChatRequest) -> None:
        """Go on by another credential, which is checked as the first one was.

        One that is not good is refused and the present one goes on. A good one that grants too
        little ends the stream: it says what the user may do now.
        """
        found = self._authenticate(frame.refresh_credential.access_token)
        principal = await found if isawaitable(found) else found
        if principal.user_id != self._stream.principal.user_id:
            raise Unauthenticated("the access token belongs to another user")
        self._authorize(principal)
        self._stream.renew(principal)
        self._accept(frame, no_effect=False)

    def _accept(self, frame: chat_pb2.ChatRequest, *, no_effect: bool) -> None:
        self._live.send(
            in_reply_to=frame.frame_id,
            frame_accepted=chat_pb2.FrameAccepted(no_effect=no_effect),
        )

    def _go_away(self, reason: "chat_pb2.GoAwayReason.ValueType", left: timedelta) -> None:
        self._live.send(
            go_away=chat_pb2.GoAway(
                reason=reason,
                time_left=duration(left),
                resume_after_sequence=self._live.sent_sequence,
            )
        )


async def first_frame(
    frames: AsyncIterator[chat_pb2.ChatRequest], draining: asyncio.Event
) -> chat_pb2.ChatRequest:
    """Return the frame that opens the stream.

    Raises:
        DomainError: PROTOCOL_VIOLATION, it is another frame, or none came in time;
            SERVER_DRAINING, the server stops before there is anything to lose.
    """
    reading = asyncio.ensure_future(anext(frames, None))
    stopping = asyncio.ensure_future(draining.wait())
    either = asyncio.FIRST_COMPLETED
    try:
        await asyncio.wait({reading, stopping}, timeout=OPENING_SECONDS, return_when=either)
        if not reading.done():
            if stopping.done():
                raise server_draining()
            raise protocol_violation(f"start or resume within {OPENING_SECONDS:g} s", None)
        frame = reading.result()
    finally:
        for task in (reading, stopping):
            task.cancel()
        await asyncio.wait({reading, stopping})
    kind = None if frame is None else frame.WhichOneof("frame")
    if frame is None or kind not in {"start", "resume"}:
        raise protocol_violation("start or resume", kind)
    check_frame(frame)
    return frame


def protocol_violation(expected: str, received: str | None) -> DomainError:
    """Return the error of a frame that does not belong here."""
    return DomainError(
        f"expected {expected}, received {received or 'an empty or unknown frame'}",
        reason="PROTOCOL_VIOLATION",
        metadata={"expected": expected, "received": received or ""},
    )
