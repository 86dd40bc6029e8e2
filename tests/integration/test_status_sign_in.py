"""Rows of signing in that need a server whose limits are on, or whose time moves."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from server.generated.interview.auth.v1 import auth_service_pb2, user_service_pb2
from tests.support.auth import MovableClock
from tests.support.caller import Caller
from tests.support.running import ADMIN, PASSWORD, VIEWER, Running, running_server
from tests.support.statuses import check_call, refused


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def strict(database_url: str, tmp_path: Path, clock: MovableClock) -> AsyncIterator[Running]:
    """A server where the second attempt after a wrong password has to wait."""
    async with running_server(database_url, tmp_path, clock=clock, login_failures=1) as running:
        yield running


async def test_a_wrong_password_too_many(strict: Running) -> None:
    """ASVS 6.3.1: and the caller is told when to try again."""
    caller = Caller(strict)
    request = auth_service_pb2.LoginRequest(email=VIEWER, password="wrong")
    await refused(caller.Login(request))
    told = await check_call(strict, caller.Login(request), "LOGIN_THROTTLED")
    assert told.metadata["locked_until"] in told.message
    assert told.by_kind["RetryInfo"].retry_delay.ToTimedelta() == timedelta(seconds=1)


async def test_a_password_that_was_given_too_long_ago(strict: Running, clock: MovableClock) -> None:
    """ASVS 7.5.3: a token that was refreshed since is no newer password."""
    nobody = Caller(strict)
    login = await nobody.Login(auth_service_pb2.LoginRequest(email=ADMIN, password=PASSWORD))
    clock.advance(minutes=16)
    request = auth_service_pb2.RefreshTokenRequest(refresh_token=login.tokens.refresh_token)
    tokens = (await nobody.RefreshToken(request)).tokens
    admin = Caller(strict, (("authorization", f"Bearer {tokens.access_token}"),))
    role = user_service_pb2.GrantRoleRequest(name=login.user.name, role="roles/viewer")
    told = await check_call(strict, admin.GrantRole(role), "STEP_UP_REQUIRED")
    assert told.metadata == {"max_auth_age": "900s"}
