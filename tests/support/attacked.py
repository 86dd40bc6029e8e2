"""A server process that is attacked while another caller goes on calling."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import psutil
from interview_client import InterviewClient, MemoryTokenStore

from tests.support.answers import told
from tests.support.load import load
from tests.support.raw_http2 import Header, RawConnection, grpc_headers, message, raw_connection
from tests.support.server_process import Account, ServerProcess

GET_FILM = "/interview.catalogue.v1.CatalogueService/GetFilm"
FILM = message(b"\x0a\x07films/1")
"""The request of the first film."""


class Attacked:
    """A server process, the credential that attackers have, and what the process holds."""

    def __init__(self, server: ServerProcess, credential: Header, other: Header) -> None:
        self.target, self.credential, self._other = server.target, credential, other
        self._server = server
        self._process = psutil.Process(server.process.pid)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return int(self._process.memory_info().rss)

    @property
    def open_files(self) -> int:
        """Files and sockets."""
        return int(self._process.num_fds())

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its log so far."""
        lines = self._server.log.splitlines()
        assert [line for line in lines if not line.startswith("{")] == []
        return [json.loads(line) for line in lines]

    async def keeps_memory(self, flood: Callable[[], Awaitable[object]], *, within: int) -> None:
        """Let a flood come until one leaves no more than so many bytes behind.

        The first ones make room that later ones use again; what leaks grows with each.
        Raises AssertionError when the fifth still leaves more.
        """
        left = []
        for _ in range(5):
            before = self.memory
            await flood()
            left.append(self.memory - before)
            if len(left) > 1 and left[-1] < within:
                return
        raise AssertionError(f"each flood leaves memory behind: {left}")

    async def answers(self, connection: RawConnection) -> str:
        """Make a proper call, as the other caller, and return what came of it."""
        stream = await connection.call(grpc_headers(GET_FILM, self._other), FILM)
        return told(await connection.answer(stream))


@asynccontextmanager
async def attack(server: ServerProcess) -> AsyncIterator[Attacked]:
    """Let another caller call all the while; raises AssertionError unless all are answered."""
    attacker = await _credential(server, server.viewer)
    other = await _credential(server, server.admin)
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
    async with grpc.aio.insecure_channel(server.target, options=options) as channel:
        get: Any = channel.unary_unary(GET_FILM)
        metadata = ((other[0].decode(), other[1].decode()),)
        async with load({"films": lambda: get(FILM[5:], metadata=metadata, timeout=10)}) as record:
            await record.answered("films", since=0)
            attacked = Attacked(server, attacker, other)
            yield attacked
            async with raw_connection(server.target) as connection:
                assert await attacked.answers(connection) == "OK"
    assert record.errors == []


async def _credential(server: ServerProcess, account: Account) -> Header:
    store = MemoryTokenStore()
    async with InterviewClient(server.target, token_store=store) as client:
        await client.sign_in(account.email, account.password)
    tokens = await store.load()
    assert tokens is not None
    return b"authorization", f"Bearer {tokens.access_token}".encode()
