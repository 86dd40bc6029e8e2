"""A database that is far away: a TCP proxy that brings each answer so many milliseconds later.

    python -m benchmarks.delay HOST PORT MILLISECONDS

The port that it listens on is the one line on stdout.
"""

import asyncio
import json
import sys
from contextlib import suppress


async def serve(host: str, port: int, seconds: float) -> None:
    """Pass connections on until the process is ended."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(host, port)
        await asyncio.gather(_pass(reader, forth, 0.0), _pass(back, writer, seconds))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float) -> None:
    """Pass on what comes, each piece when its time has come: more may be on the way at once."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while data := await source.read(65536):
            loop.call_later(seconds, target.write, data)
    loop.call_later(seconds, target.close)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000))
