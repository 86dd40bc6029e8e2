"""A short queue of events between a turn and its reader."""

import asyncio
from collections import deque

from server.agent.engine import EngineEvent


class EventQueue:
    """Holds at most `capacity` events; a full queue makes the writer wait.

    The writer is the task that reads the model's socket, so a slow reader slows the model.
    Unlike asyncio.Queue it can be closed while it is full, with an error if need be.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._events: deque[EngineEvent] = deque()
        self._changed_for_reader = asyncio.Event()
        self._changed_for_writer = asyncio.Event()
        self._closed = False
        self._error: BaseException | None = None

    async def put(self, event: EngineEvent) -> None:
        """Add an event, after waiting for room."""
        while len(self._events) >= self._capacity:
            self._changed_for_writer.clear()
            await self._changed_for_writer.wait()
        self._events.append(event)
        self._changed_for_reader.set()

    def close(self, error: BaseException | None = None) -> None:
        """End the queue: the reader gets what is in it and then the error, if there is one."""
        self._closed = True
        self._error = error
        self._changed_for_reader.set()

    async def get(self) -> EngineEvent | None:
        """Return the next event, None at the end, or raise the error it was closed with."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._closed:
                return None
            self._changed_for_reader.clear()
            await self._changed_for_reader.wait()
        self._changed_for_writer.set()
        return self._events.popleft()
