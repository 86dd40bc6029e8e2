"""What callers meet while SECRET_KEY is changed, one replica after the other.

docs/operations.md, "Keys", tells operators the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from server.app import Application
from server.core.clock import utc_now
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.running import PASSWORD, VIEWER, Running, capturing_log

NEW_SECRET = b"another secret that is only for tests, 32+ bytes"
Metadata = tuple[tuple[str, str], ...]


@pytest.fixture
async def renewed(running: Running) -> AsyncIterator[Running]:
    """A replica over the same database that has the new secret already."""
    log, lines = capturing_log()
    app = Application(running.app.settings, NEW_SECRET, utc_now, log)
    port = await app.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Running(app, port, channel, lines)
    hurry = asyncio.Event()
    hurry.set()
    await app.stop(hurry)


async def _tokens(running: Running) -> Any:
    stub = auth_service_pb2_grpc.AuthServiceStub(running.channel)
    request = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD)
    return (await stub.Login(request)).tokens


async def _refreshed(running: Running, tokens: Any) -> Any:
    stub = auth_service_pb2_grpc.AuthServiceStub(running.channel)
    request = auth_service_pb2.RefreshTokenRequest(refresh_token=tokens.refresh_token)
    return (await stub.RefreshToken(request)).tokens


def _films(running: Running, tokens: Any, page_token: str = "") -> Awaitable[Any]:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    request = film_pb2.ListFilmsRequest(page_size=3, page_token=page_token)
    metadata: Metadata = (("authorization", f"Bearer {tokens.access_token}"),)
    return stub.ListFilms(request, metadata=metadata)


async def _reason(call: Awaitable[Any]) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


async def test_access_tokens_count_only_where_the_secret_is_theirs(
    running: Running, renewed: Running
) -> None:
    """ASVS 9.1.3: only the key of the configured secret is trusted."""
    for at_home, abroad in ((running, renewed), (renewed, running)):
        tokens = await _tokens(at_home)
        assert len((await _films(at_home, tokens)).films) == 3
        assert await _reason(_films(abroad, tokens)) == "CREDENTIAL_INVALID"


async def test_refresh_tokens_outlive_the_change(running: Running, renewed: Running) -> None:
    before = await _tokens(running)
    after = await _refreshed(renewed, before)
    assert len((await _films(renewed, after)).films) == 3
    again = await _refreshed(running, after)
    assert len((await _films(running, again)).films) == 3


async def test_a_list_that_was_begun_before_must_be_begun_anew(
    running: Running, renewed: Running
) -> None:
    """AIP-158: a page token that was sealed by another secret is refused."""
    token = (await _films(running, await _tokens(running))).next_page_token
    tokens = await _tokens(renewed)
    assert await _reason(_films(renewed, tokens, token)) == "PAGE_TOKEN_INVALID"
    assert len((await _films(renewed, tokens)).films) == 3
