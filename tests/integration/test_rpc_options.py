"""Each option of the server has its effect on a real connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.chat_driver import problem_of
from tests.support.running import Running, running_server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS, GOAWAY = 4, 7
MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE = 3, 6


class Peer:
    """A client that speaks the frames of HTTP/2 and does nothing by itself, not even PING."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def frame(self, kind: int) -> bytes:
        """Return the payload of the next frame of this kind."""
        while True:
            header = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(header[:3], "big"))
            if header[3] == kind:
                return payload

    async def closed(self) -> None:
        """Wait until the server has closed the connection."""
        try:
            while await self._reader.read(4096):
                pass
        except ConnectionResetError:
            pass


@asynccontextmanager
async def _connected(server: Running, *, greet: bool = True) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    if greet:
        writer.write(PREFACE + EMPTY_SETTINGS)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def _served(
    templates: dict[str, Path], folder: Path, **settings: Any
) -> AsyncIterator[Running]:
    file = folder / "options.db"
    file.write_bytes(templates["sample"].read_bytes())
    async with running_server(f"sqlite+aiosqlite:///{file}", folder, **settings) as server:
        yield server


async def _outcome(call: Any) -> tuple[str, str]:
    """Return the code, and the reason if the server gave one."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        detailed = "grpc-status-details-bin" in dict(error.trailing_metadata() or ())
        return error.code().name, problem_of(error).reason if detailed else ""
    return "OK", ""


def _settings_of(payload: bytes) -> dict[int, int]:
    return {
        int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
        for at in range(0, len(payload), 6)
    }


async def test_a_connection_is_told_how_many_calls_and_headers_it_may_send(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    options = {"max_concurrent_streams": 7, "max_metadata_bytes": 4096}
    async with _served(sqlite_templates, tmp_path, **options) as server, _connected(server) as peer:
        async with asyncio.timeout(10):
            told = _settings_of(await peer.frame(SETTINGS))
    assert (told[MAX_CONCURRENT_STREAMS], told[MAX_HEADER_LIST_SIZE]) == (7, 4096)


async def test_the_defaults_are_told_as_well(embedded: Running) -> None:
    async with _connected(embedded) as peer, asyncio.timeout(10):
        told = _settings_of(await peer.frame(SETTINGS))
    assert (told[MAX_CONCURRENT_STREAMS], told[MAX_HEADER_LIST_SIZE]) == (100, 8192)


async def test_messages_have_the_sizes_that_are_set(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    sizes = {"max_receive_message_bytes": 65_536, "max_send_message_bytes": 65_536}
    async with _served(sqlite_templates, tmp_path, **sizes) as server:
        metadata = await server.sign_in()
        stub = catalogue_service_pb2_grpc.CatalogueServiceStub(server.channel)

        async def listed(page_size: int, page_token: str = "") -> tuple[str, str]:
            request = film_pb2.ListFilmsRequest(page_size=page_size, page_token=page_token)
            return await _outcome(stub.ListFilms(request, metadata=metadata, timeout=20))

        assert await listed(10) == ("OK", "")
        assert await listed(10, "x" * 70_000) == ("RESOURCE_EXHAUSTED", "")
        assert await listed(10, "x" * 60_000) == ("INVALID_ARGUMENT", "VALIDATION_FAILED")
        assert await listed(700) == ("RESOURCE_EXHAUSTED", "ANSWER_TOO_LARGE")
        lines = [line for line in server.access_lines() if line["method"].endswith("ListFilms")]
    assert [line["code"] for line in lines][-1] == "RESOURCE_EXHAUSTED"


async def test_a_peer_that_is_frozen_is_dropped_after_the_ping_timeout(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    # grpc.keepalive_timeout_ms alone would keep it for a minute.
    options = {"keepalive_seconds": 1, "keepalive_timeout_seconds": 1}
    async with _served(sqlite_templates, tmp_path, **options) as server, _connected(server) as peer:
        async with asyncio.timeout(20):
            await peer.closed()


async def test_a_connection_that_says_nothing_is_closed_by_the_handshake_timeout(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with (
        _served(sqlite_templates, tmp_path, handshake_timeout_seconds=1) as server,
        _connected(server, greet=False) as peer,
    ):
        async with asyncio.timeout(20):
            await peer.closed()


@pytest.mark.parametrize("name", ["max_connection_age_seconds", "max_connection_idle_seconds"])
async def test_an_old_and_an_idle_connection_are_sent_away_in_order(
    sqlite_templates: dict[str, Path], tmp_path: Path, name: str
) -> None:
    async with _served(sqlite_templates, tmp_path, **{name: 1}) as server:
        async with _connected(server) as peer, asyncio.timeout(20):
            assert await peer.frame(GOAWAY)
        # The published channel connects again without anybody noticing.
        metadata = await server.sign_in()
        stub = catalogue_service_pb2_grpc.CatalogueServiceStub(server.channel)
        request = film_pb2.GetFilmRequest(name="films/1")
        for _ in range(15):
            await asyncio.sleep(0.2)
            assert (await stub.GetFilm(request, metadata=metadata, timeout=20)).name == "films/1"


async def test_a_second_server_on_the_port_is_refused(embedded: Running) -> None:
    second = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    with pytest.raises(RuntimeError):
        second.add_insecure_port(embedded.target)
