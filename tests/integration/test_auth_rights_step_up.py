"""Methods that ask for a password of late: who gave one too long ago signs in again."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor

from server.generated.interview.auth.v1 import auth_service_pb2
from server.generated.interview.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.support.any_method import METHODS, access_of, outcome
from tests.support.auth import MovableClock
from tests.support.caller import Metadata
from tests.support.running import ADMIN, PASSWORD, VIEWER, Running, running_server
from tests.support.statuses import check_row

STEP_UP = [method for method in METHODS if access_of(method).HasField("max_auth_age")]


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def server(
    sqlite_templates: dict[str, Path], tmp_path: Path, clock: MovableClock
) -> AsyncIterator[Running]:
    """A server whose time the test moves; its rules are decided without the database."""
    file = tmp_path / "test.db"
    file.write_bytes(sqlite_templates["migrated"].read_bytes())
    async with running_server(f"sqlite+aiosqlite:///{file}", tmp_path, clock=clock) as running:
        yield running


async def _signed_in(server: Running) -> Any:
    request = auth_service_pb2.LoginRequest(email=ADMIN, password=PASSWORD)
    return (await AuthServiceStub(server.channel).Login(request)).tokens


async def _refreshed(server: Running, tokens: Any) -> Any:
    request = auth_service_pb2.RefreshTokenRequest(refresh_token=tokens.refresh_token)
    return (await AuthServiceStub(server.channel).RefreshToken(request)).tokens


def _metadata(tokens: Any) -> Metadata:
    return (("authorization", f"Bearer {tokens.access_token}"),)


def test_there_are_methods_that_ask_for_it() -> None:
    """ASVS 7.5.3: what gives power to others, or takes users away."""
    assert {method.name for method in STEP_UP} >= {"GrantRole", "RevokeRole", "DeleteUser"}


@pytest.mark.parametrize("method", STEP_UP, ids=lambda method: str(method.name))
async def test_an_old_password_is_not_enough_and_a_new_one_is(
    server: Running, clock: MovableClock, method: MethodDescriptor
) -> None:
    """ASVS 7.5.3: a refreshed token is as old as its password."""
    limit = access_of(method).max_auth_age.ToTimedelta()
    tokens = await _signed_in(server)
    assert await _reason(server, method, tokens) not in {"STEP_UP_REQUIRED", "PERMISSION_DENIED"}
    started = clock()
    while clock() + timedelta(minutes=5) < started + limit:
        clock.advance(minutes=5)
        tokens = await _refreshed(server, tokens)
    clock.now = started + limit
    assert await _reason(server, method, tokens) not in {"STEP_UP_REQUIRED", "PERMISSION_DENIED"}
    clock.advance(seconds=1)
    for old in (tokens, await _refreshed(server, tokens)):
        told = await outcome(server.channel, method, _metadata(old))
        assert told is not None
        check_row(told, "STEP_UP_REQUIRED")
        assert told.metadata == {"max_auth_age": f"{int(limit.total_seconds())}s"}
        assert "sign in again" in told.message
    again = await _signed_in(server)
    assert await _reason(server, method, again) not in {"STEP_UP_REQUIRED", "PERMISSION_DENIED"}


async def _reason(server: Running, method: MethodDescriptor, tokens: Any) -> str:
    told = await outcome(server.channel, method, _metadata(tokens))
    return told.reason if told else ""


async def test_who_lacks_the_permission_is_not_asked_for_a_password(server: Running) -> None:
    """ASVS 8.2.1: to sign in again would not help, so it is not asked for."""
    for method in STEP_UP:
        told = await outcome(server.channel, method, await server.sign_in(VIEWER))
        assert told is not None
        check_row(told, "PERMISSION_DENIED")
