"""Reads a response's body and hands over all that has come at once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Self

_MAX_BUFFERED = 64 * 1024


class ReadAhead:
    """A body read in a task of its own, as an async context manager.

    Servers send each token as an HTTP chunk, and the HTTP library gives each chunk by itself
    even when one read of the network brought a hundred. The task takes them all before its
    reader wakes, so that the work per piece is done once per read. It waits while 64 KiB are
    not taken, so that a slow reader still slows the server.
    """

    def __init__(self, body: AsyncGenerator[bytes, None]) -> None:
        self._body = body
        self._buffer = bytearray()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read(), name="model-read")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def take(self, deadline: float) -> bytes:
        """Return what has come since the last call, after waiting for something to come.

        Args:
            deadline: the loop's time to wait until.

        Raises:
            TimeoutError: nothing came until the deadline.
            EOFError: the body has ended.
            Exception: what the HTTP library raised.
        """
        if not self._arrived.is_set():
            async with asyncio.timeout_at(deadline):
                await self._arrived.wait()
        if self._buffer:
            taken = bytes(self._buffer)
            self._buffer.clear()
            self._taken.set()
            if self._task is None or not self._task.done():
                self._arrived.clear()
            return taken
        raise self._error or EOFError("the body has ended")

    async def _read(self) -> None:
        try:
            # Closed here: a generator left to the garbage collector ends in a task of its own.
            async with aclosing(self._body) as body:
                async for read in body:
                    self._buffer += read
                    self._arrived.set()
                    if len(self._buffer) >= _MAX_BUFFERED:
                        self._taken.clear()
                        await self._taken.wait()
        except Exception as error:  # noqa: BLE001  # raised again where the bytes are taken
            self._error = error
        finally:
            self._arrived.set()
