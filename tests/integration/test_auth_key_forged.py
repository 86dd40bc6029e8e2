"""Forged and broken access tokens, put to a real server (RFC 8725; ASVS 9.1, 9.2)."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from shutil import copy
from uuid import UUID

import grpc
import pytest

from server.auth.key_files import write_new
from server.auth.keys import EDDSA, ES256, new_signing_key
from server.core.clock import utc_now
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support import answers as raw_answers
from tests.support.forged_claims import BAD
from tests.support.mint import Mint, mint, ring_of_mint
from tests.support.raw_http2 import grpc_headers, message, raw_connection
from tests.support.running import PASSWORD, VIEWER, Running, running_server
from tests.support.statuses import Told, check_row, line_of, told_by

USER = UUID("6a1f8a1e-51f1-4c0e-9d57-0f4dcb7f3a10")
SESSION = UUID("0b6b7c52-5a36-4e52-8f4e-8a6d1de0b0a7")
LIST = "/interview.catalogue.v1.CatalogueService/ListFilms"
AT_ONCE = 20
TOO_LONG = {"one megabyte", "one megabyte of dots"}
"""For MAX_METADATA_BYTES: such headers never become a call."""
NO_HEADER = {"a NUL in it", "a newline behind it", "not ASCII"}
"""What gRPC's own clients refuse to send as a header."""


@pytest.fixture(scope="module")
def made() -> Mint:
    """Keys and claims that the server accepts."""
    names = {"issuer": "interview-api", "audience": "interview-api"}
    return mint(new_signing_key(EDDSA), utc_now(), USER, SESSION, **names)


@pytest.fixture(scope="module")
async def server(
    made: Mint, sqlite_templates: dict[str, Path], shared_folder: Path
) -> AsyncIterator[Running]:
    """A server with the mint's keys. No database takes part in whose token it is."""
    copy(sqlite_templates["sample"], shared_folder / "test.db")
    file = shared_folder / "keys.json"
    write_new(file, ring_of_mint(made, utc_now()))
    url = f"sqlite+aiosqlite:///{shared_folder / 'test.db'}"
    async with running_server(url, shared_folder, signing_keys_file=file) as running:
        yield running


async def _answer(running: Running, token: str) -> Told | None:
    """Ask for films with a token; return what was refused, None where it was not."""
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    try:
        await stub.ListFilms(
            film_pb2.ListFilmsRequest(page_size=1),
            metadata=(("authorization", f"Bearer {token}"),),
        )
    except grpc.aio.AioRpcError as error:
        return told_by(error)
    return None


async def _answers(running: Running, tokens: Iterable[str]) -> list[Told | None]:
    places = asyncio.Semaphore(AT_ONCE)

    async def asked(token: str) -> Told | None:
        async with places:
            return await _answer(running, token)

    return await asyncio.gather(*(asked(token) for token in tokens))


async def test_good_tokens_of_both_algorithms_are_accepted(server: Running, made: Mint) -> None:
    """Shows that the others are refused for what is wrong in them, not for their making."""
    coming = made.by(made.coming, alg=ES256, kid=made.coming.kid)
    limited = made.with_claims(scope="films.read")
    assert await _answers(server, [made.good, coming, limited]) == [None] * 3
    other = await _answer(server, made.with_claims(scope="films.watch"))
    assert other is not None
    assert other.reason == "PERMISSION_DENIED"


async def test_every_bad_token_has_the_same_answer(server: Running, made: Mint) -> None:
    """RFC 8725, 3; ASVS 9.1.1 to 9.1.3, 9.2.1 to 9.2.4: not even the reason tells them apart."""
    names = sorted(BAD.keys() - TOO_LONG - NO_HEADER)
    assert len(names) >= 90
    before = len(server.lines)
    answers = await _answers(server, [BAD[name](made) for name in names])
    accepted = [name for name, told in zip(names, answers, strict=True) if told is None]
    assert accepted == []
    refused = dict(zip(names, (one for one in answers if one), strict=True))
    for one in refused.values():
        check_row(one, "CREDENTIAL_INVALID")
    shown = {
        name: (told.message, told.metadata, set(told.by_kind)) for name, told in refused.items()
    }
    expected: tuple[str, dict[str, str], set[str]] = (
        "the credential is not accepted; sign in again, or send another API key",
        {},
        {"ErrorInfo", "RequestInfo"},
    )
    assert {name: one for name, one in shown.items() if one != expected} == {}
    for one in refused.values():
        await line_of(server, one.request_id)
    events = {line.kwargs.get("event") for line in server.lines[before:]}
    assert events == {"call"}, "nothing of it is worth a line of its own"
    assert "Traceback" not in repr(server.lines[before:])


async def test_what_no_client_can_send_as_a_header_is_refused_too(
    server: Running, made: Mint
) -> None:
    """ASVS 2.2.1: the server does not count on what clients would not send."""
    proper = grpc_headers(LIST)
    tokens = {name: BAD[name](made).encode() for name in sorted(NO_HEADER | TOO_LONG)}
    answers = {}
    for name, token in {**tokens, "good": made.good.encode()}.items():
        async with raw_connection(server.target) as connection:
            stream = await connection.call(
                [*proper, (b"authorization", b"Bearer " + token)], message(b"")
            )
            answers[name] = raw_answers.told(await connection.answer(stream))
    assert answers.pop("good") == "OK"
    assert answers == {
        **dict.fromkeys(NO_HEADER, "UNAUTHENTICATED CREDENTIAL_INVALID"),
        **dict.fromkeys(TOO_LONG, "RESOURCE_EXHAUSTED gRPC"),
    }


async def test_a_refresh_token_is_no_access_token(server: Running) -> None:
    """ASVS 9.2.2: a token serves its own purpose alone."""
    stub = auth_service_pb2_grpc.AuthServiceStub(server.channel)
    login = await stub.Login(auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD))
    assert await _answer(server, login.tokens.access_token) is None
    told = await _answer(server, login.tokens.refresh_token)
    assert told is not None
    assert told.reason == "CREDENTIAL_INVALID"
