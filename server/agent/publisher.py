"""From a running turn to the log and the client: number, merge, store, then send.

An event is stored before it is sent. Text goes out at once after a silence and then merged,
because each message costs more than its bytes. A full queue stops the turn, and through the
engine's own queue the model's socket: nothing is buffered without bound.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from server.agent.domain import Session
from server.agent.events import Event, MessageDelta, SessionEvent, TurnChange
from server.core.clock import Clock

MAX_PENDING_EVENTS = 256
MAX_PENDING_CHARACTERS = 64 * 1024
MERGED_CHARACTERS = 512
DELTA_INTERVAL = timedelta(milliseconds=25)

Deliver = Callable[[Sequence[SessionEvent]], Awaitable[None]]
"""Stores a batch of events and then sends them."""


@dataclass(frozen=True, slots=True)
class _Draft:
    event: Event
    turn_id: UUID | None
    in_reply_to: str
    change: TurnChange | None


class Publisher:
    """The one writer of a session's events."""

    def __init__(
        self,
        session: Session,
        deliver: Deliver,
        clock: Clock,
        interval: timedelta = DELTA_INTERVAL,
    ) -> None:
        self._session = session
        self._deliver = deliver
        self._clock = clock
        self._interval = interval.total_seconds()
        self._drafts: list[_Draft] = []
        self._characters = 0
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._room.set()
        self._idle.set()

    def put(
        self,
        event: Event,
        *,
        turn_id: UUID | None = None,
        in_reply_to: str = "",
        change: TurnChange | None = None,
    ) -> None:
        """Queue an event; pieces of the same message that still wait become one."""
        draft = _Draft(event, turn_id, in_reply_to, change)
        if isinstance(event, MessageDelta):
            self._characters += len(event.text)
            draft = self._merged(event, draft)
        self._drafts.append(draft)
        if _is_full(draft.event):
            self._urgent.set()
        if len(self._drafts) >= MAX_PENDING_EVENTS or self._characters >= MAX_PENDING_CHARACTERS:
            self._room.clear()
        self._idle.clear()
        self._work.set()

    async def room(self) -> None:
        """Wait until another event may be queued."""
        await self._room.wait()

    async def flush(self) -> None:
        """Wait until everything queued so far is stored and sent."""
        self._urgent.set()
        await self._idle.wait()

    async def run(self) -> None:
        """Deliver until cancelled. An error of the store ends it and must end the stream."""
        loop = asyncio.get_running_loop()
        not_before = 0.0
        while True:
            await self._work.wait()
            await self._wait_until(not_before)
            await self._deliver(self._take())
            not_before = loop.time() + self._interval
            if not self._drafts:
                self._idle.set()

    def _merged(self, event: MessageDelta, draft: _Draft) -> _Draft:
        last = self._drafts[-1].event if self._drafts else None
        if not isinstance(last, MessageDelta) or last.message_id != event.message_id:
            return draft
        if _is_full(last):
            return draft
        self._drafts.pop()
        return replace(draft, event=replace(last, text=last.text + event.text))

    async def _wait_until(self, moment: float) -> None:
        delay = moment - asyncio.get_running_loop().time()
        if delay > 0 and not self._urgent.is_set():
            try:
                async with asyncio.timeout(delay):
                    await self._urgent.wait()
            except TimeoutError:
                pass

    def _take(self) -> list[SessionEvent]:
        drafts, self._drafts = self._drafts, []
        self._characters = 0
        self._work.clear()
        self._urgent.clear()
        self._room.set()
        now = self._clock()
        first = self._session.last_sequence + 1
        self._session.last_sequence += len(drafts)
        return [
            SessionEvent(number, draft.event, now, draft.turn_id, draft.in_reply_to, draft.change)
            for number, draft in enumerate(drafts, first)
        ]


def _is_full(event: Event) -> bool:
    """Tell whether an event can take no more text."""
    return not isinstance(event, MessageDelta) or len(event.text) >= MERGED_CHARACTERS
