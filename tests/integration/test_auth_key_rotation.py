"""Signing keys that change under a running server, and others who verify its tokens."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from shutil import copy
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.json_format import MessageToDict

from server.app import Application
from server.auth import key_commands
from server.auth.keys import EDDSA, ES256
from server.core.clock import utc_now
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.running import PASSWORD, SECRET, VIEWER, Running, capturing_log, running_server
from tests.support.secured import eventually
from tests.support.statuses import refused

PRIVATE = {"d", "k", "p", "q", "dp", "dq", "qi"}


class MovedClock:
    """The real time, moved: PyJWT looks at the machine's."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def __call__(self) -> Any:
        return utc_now() + self.moved


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def file(tmp_path: Path, clock: MovedClock) -> Path:
    """Keys as the command makes them."""
    file = tmp_path / "keys.json"
    key_commands.generate(file, EDDSA, clock=clock, out=io.StringIO())
    return file


@pytest.fixture
async def server(
    sqlite_templates: dict[str, Path], tmp_path: Path, file: Path, clock: MovedClock
) -> AsyncIterator[Running]:
    """A server that follows the file."""
    copy(sqlite_templates["sample"], tmp_path / "test.db")
    url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    async with running_server(url, tmp_path, clock=clock, signing_keys_file=file) as running:
        yield running


@asynccontextmanager
async def replica(of: Running, file: Path, clock: MovedClock) -> AsyncIterator[Running]:
    """Start another server over the same database that follows a file of its own."""
    log, lines = capturing_log()
    settings = of.app.settings.model_copy(update={"signing_keys_file": file})
    app = Application(settings, SECRET, clock, log)
    port = await app.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Running(app, port, channel, lines)
    hurry = asyncio.Event()
    hurry.set()
    await app.stop(hurry)


def auth(server: Running) -> Any:
    return auth_service_pb2_grpc.AuthServiceStub(server.channel)


async def sign_in(server: Running) -> Any:
    request = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD)
    return (await auth(server).Login(request)).tokens


def films(server: Running, access_token: str) -> Awaitable[Any]:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(server.channel)
    metadata = (("authorization", f"Bearer {access_token}"),)
    answer: Awaitable[Any] = stub.ListFilms(
        film_pb2.ListFilmsRequest(page_size=1), metadata=metadata
    )
    return answer


async def key_set(server: Running) -> dict[str, Any]:
    """Ask without a credential, as a stranger; the answer is a JWK Set as it stands."""
    answer = await auth(server).GetJsonWebKeySet(auth_service_pb2.GetJsonWebKeySetRequest())
    return MessageToDict(answer)


async def kids(server: Running) -> Sequence[str]:
    return [key["kid"] for key in (await key_set(server))["keys"]]


def verified(token: str, keys: dict[str, Any]) -> dict[str, Any]:
    """Verify a token as another service does: with PyJWT and these keys, nothing else."""
    kid = jwt.get_unverified_header(token)["kid"]
    (key,) = (key for key in jwt.PyJWKSet.from_dict(keys).keys if key.key_id == kid)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[key.algorithm_name],
        issuer="interview-api",
        audience="interview-api",
        options={"require": ["exp", "iat", "sub", "jti"]},
    )
    return claims


async def rotated(
    server: Running, file: Path, clock: Callable[[], Any], algorithm: str | None = None
) -> None:
    """Rotate the file and wait until the server has taken it."""
    before = await kids(server)
    key_commands.rotate(file, algorithm, clock=clock, out=io.StringIO())

    async def taken() -> bool:
        return await kids(server) != before

    await eventually(taken)


async def test_a_stranger_verifies_tokens_of_both_algorithms_across_rotations(
    server: Running, file: Path, clock: MovedClock
) -> None:
    """RFC 7517, RFC 9068, 4: the published keys are all that another service needs."""
    first = (await sign_in(server)).access_token
    known = await key_set(server)
    assert verified(first, known)["roles"] == ["viewer"]
    algorithms = [jwt.get_unverified_header(first)["alg"]]
    tokens = [first]
    for algorithm in (ES256, EDDSA, EDDSA):
        await rotated(server, file, clock, algorithm)
        token = (await sign_in(server)).access_token
        # With the keys from before the rotation: what signs now was published as the next one.
        assert verified(token, known)["sub"] == verified(first, known)["sub"]
        tokens.append(token)
        algorithms.append(jwt.get_unverified_header(token)["alg"])
        known = await key_set(server)
        for each in tokens:
            assert verified(each, known)["iss"] == "interview-api"
            await films(server, each)
    assert algorithms == [EDDSA, EDDSA, ES256, EDDSA]
    assert len(set(await kids(server))) == 5
    assert not [key for key in known["keys"] if key.keys() & PRIVATE]
    assert {(key["alg"], key["kty"], key["crv"], key["use"]) for key in known["keys"]} == {
        (EDDSA, "OKP", "Ed25519", "sig"),
        (ES256, "EC", "P-256", "sig"),
    }


async def test_no_token_is_refused_while_a_rotation_reaches_one_replica_after_the_other(
    server: Running, file: Path, clock: MovedClock, tmp_path: Path
) -> None:
    behind = Path(copy(file, tmp_path / "behind.json"))
    async with replica(server, behind, clock) as late:
        for _ in range(2):
            before = await sign_in(late)
            await rotated(server, file, clock)
            for one, other in ((server, late), (late, server)):
                tokens = await sign_in(one)
                for token in (tokens.access_token, before.access_token):
                    await films(one, token)
                    await films(other, token)
            assert await kids(server) != await kids(late)
            copy(file, behind)
            await eventually(lambda: _same_keys(server, late))
            await films(server, before.access_token)
            await films(late, before.access_token)
        signed = [line for line in late.lines if line.kwargs["event"] == "signing keys changed"]
        assert len(signed) == 2


async def _same_keys(one: Running, other: Running) -> bool:
    return await kids(one) == await kids(other)


async def test_a_retired_key_is_gone_when_its_last_token_is_dead(
    server: Running, file: Path, clock: MovedClock
) -> None:
    """ASVS 9.1.3: a key is published no longer than it is trusted."""
    (signing, _) = await kids(server)
    await sign_in(server)
    await rotated(server, file, clock)
    clock.moved = timedelta(minutes=15, seconds=25)
    assert signing in await kids(server)
    clock.moved = timedelta(minutes=15, seconds=31)
    assert signing not in await kids(server)
    assert len(await kids(server)) == 2


async def test_tokens_of_keys_that_were_taken_away_are_refused_at_once_also_remembered_ones(
    server: Running, file: Path, clock: MovedClock
) -> None:
    """ASVS 9.1.3: after a theft of the file, new keys put an end to what the old ones signed."""
    tokens = await sign_in(server)
    await films(server, tokens.access_token)
    await films(server, tokens.access_token)
    before = await kids(server)
    fresh = file.with_name("fresh.json")
    key_commands.generate(fresh, ES256, clock=clock, out=io.StringIO())
    await asyncio.to_thread(fresh.replace, file)

    async def taken() -> bool:
        return not set(before) & set(await kids(server))

    await eventually(taken)
    assert (await refused(films(server, tokens.access_token))).reason == "CREDENTIAL_INVALID"
    request = auth_service_pb2.RefreshTokenRequest(refresh_token=tokens.refresh_token)
    renewed = (await auth(server).RefreshToken(request)).tokens
    await films(server, renewed.access_token)


async def test_a_bad_file_leaves_the_keys_and_is_told_once(
    server: Running, file: Path, clock: MovedClock
) -> None:
    tokens = await sign_in(server)
    good = await asyncio.to_thread(file.read_bytes)
    await asyncio.to_thread(file.write_bytes, good[:-40])

    async def told() -> bool:
        return bool(_problems(server))

    await eventually(told)
    await films(server, tokens.access_token)
    await films(server, (await sign_in(server)).access_token)
    await asyncio.to_thread(file.write_bytes, good)
    await rotated(server, file, clock)
    await films(server, tokens.access_token)
    (line,) = _problems(server)
    assert line["level"] == "error"
    assert line["problem"].startswith("SIGNING_KEYS_FILE: must be what")


def _problems(server: Running) -> list[dict[str, Any]]:
    event = "signing keys cannot be read: those from before go on"
    return [line.kwargs for line in server.lines if line.kwargs.get("event") == event]


async def test_without_a_file_one_key_is_derived_and_published(embedded: Running) -> None:
    """RFC 7517, RFC 9068, 4: others verify by it as by one of a file."""
    token = (await sign_in(embedded)).access_token
    keys = await key_set(embedded)
    assert [(key["alg"], key["crv"]) for key in keys["keys"]] == [(EDDSA, "Ed25519")]
    assert verified(token, keys)["aud"] == "interview-api"
