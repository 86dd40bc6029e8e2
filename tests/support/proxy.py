"""A TCP proxy before the server or its database: a network that can fail."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 seconds: closing the socket sends a reset."""


class Proxy:
    """Passes bytes to a port of this machine and back, until it is told otherwise.

    `source` is the address that the target sees; 127.0.0.0/8 are all of this machine.
    """

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._target = port
        self._source = source
        self._passing = asyncio.Event()
        self._passing.set()
        self._unanswered: bytes | None = None
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    def part(self) -> None:
        """Be silent: connections stay, new ones are taken, no byte gets through."""
        self._passing.clear()

    def heal(self) -> None:
        """Pass on what was held back, and everything from now on."""
        self._passing.set()

    def reset(self) -> None:
        """Break every connection at once; new ones work."""
        for connection in self._connections:
            connection.reset()

    def lose_answer_to(self, request: bytes) -> None:
        """Deliver the next message that has these bytes; in place of its answer comes a reset."""
        self._unanswered = request

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Listen no more, and break every connection."""
        assert self._server is not None
        self._server.close()
        self.heal()
        while self._connections:
            self.reset()
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            with suppress(OSError):
                back, forth = await asyncio.open_connection(
                    "127.0.0.1", self._target, local_addr=(self._source, 0)
                )
                connection.writers.append(forth)
                await asyncio.gather(
                    self._requests(connection, reader, forth),
                    self._answers(connection, back, writer),
                )
        finally:
            self._connections.discard(connection)
            for end in connection.writers:
                end.close()

    async def _requests(
        self,
        connection: "_Connection",
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
    ) -> None:
        while data := await source.read(65536):
            await self._passing.wait()
            if self._unanswered is not None and self._unanswered in data:
                self._unanswered, connection.mute = None, True
            target.write(data)
        target.close()

    async def _answers(
        self,
        connection: "_Connection",
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
    ) -> None:
        while data := await source.read(65536):
            await self._passing.wait()
            if connection.mute:
                connection.reset()
                return
            target.write(data)
        target.close()


class _Connection:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writers = [writer]
        self.mute = False

    def reset(self) -> None:
        for writer in self.writers:
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


@asynccontextmanager
async def running_proxy(port: int) -> AsyncIterator[Proxy]:
    """Yield a proxy to a port of this machine."""
    proxy = Proxy(port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
