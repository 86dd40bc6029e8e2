"""AuthService and the gate before every other method, through a real server."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.running import ADMIN, PASSWORD, VIEWER, Running

_C = grpc.StatusCode


@pytest.fixture
def auth(running: Running) -> Any:
    return auth_service_pb2_grpc.AuthServiceStub(running.channel)


async def _refusal(call: Any) -> tuple[grpc.StatusCode, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata() or ())
    info = error_details_pb2.ErrorInfo()
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert status.details[0].Unpack(info)
    return caught.value.code(), info.reason, status.message


async def _login(auth: Any, email: str = VIEWER, password: str = PASSWORD) -> Any:
    request = auth_service_pb2.LoginRequest(email=email, password=password, device_label="test")
    return await auth.Login(request, timeout=10)


def _bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def _film(running: Running, metadata: Any) -> Any:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    return stub.GetFilm(film_pb2.GetFilmRequest(name="films/1"), metadata=metadata, timeout=10)


async def test_a_login_session_from_its_first_token_to_its_end(auth: Any, running: Running) -> None:
    """ASVS 7.4.1: after signing out neither of its tokens counts."""
    login = await _login(auth, email=VIEWER.upper())
    assert login.user.email == VIEWER
    assert list(login.user.roles) == ["roles/viewer"]
    assert login.tokens.token_type == "Bearer"
    metadata = _bearer(login.tokens.access_token)
    principal = await auth.GetCurrentPrincipal(
        auth_service_pb2.GetCurrentPrincipalRequest(), metadata=metadata
    )
    assert principal.user.name == login.user.name
    assert "films.read" in principal.permissions
    assert principal.login_session == login.login_session
    request = auth_service_pb2.RefreshTokenRequest(refresh_token=login.tokens.refresh_token)
    renewed = await auth.RefreshToken(request)
    assert renewed.tokens.access_token != login.tokens.access_token
    metadata = _bearer(renewed.tokens.access_token)
    assert (await _film(running, metadata)).name == "films/1"
    await auth.Logout(auth_service_pb2.LogoutRequest(), metadata=metadata)
    code, reason, _ = await _refusal(_film(running, metadata))
    assert (code, reason) == (_C.UNAUTHENTICATED, "TOKEN_REVOKED")
    request = auth_service_pb2.RefreshTokenRequest(refresh_token=renewed.tokens.refresh_token)
    code, reason, _ = await _refusal(auth.RefreshToken(request))
    assert (code, reason) == (_C.UNAUTHENTICATED, "TOKEN_REVOKED")


async def test_a_refresh_token_that_comes_twice_ends_the_session(
    auth: Any, running: Running
) -> None:
    """ASVS 10.4.5, RFC 9700 4.14.2: its successor ends with it."""
    login = await _login(auth)
    request = auth_service_pb2.RefreshTokenRequest(refresh_token=login.tokens.refresh_token)
    renewed = await auth.RefreshToken(request)
    code, reason, _ = await _refusal(auth.RefreshToken(request))
    assert (code, reason) == (_C.UNAUTHENTICATED, "REFRESH_TOKEN_REUSED")
    later = auth_service_pb2.RefreshTokenRequest(refresh_token=renewed.tokens.refresh_token)
    code, _, _ = await _refusal(auth.RefreshToken(later))
    assert code is _C.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (VIEWER, "wrong"),
        (ADMIN, PASSWORD.upper()),
        ("nobody@example.com", PASSWORD),
        (VIEWER, PASSWORD + "\0"),
        (VIEWER, "x" * 73),
        (VIEWER, "🎬" * 200),
    ],
)
async def test_who_may_not_in_learns_nothing(auth: Any, email: str, password: str) -> None:
    """ASVS 6.3.8."""
    refused = await _refusal(_login(auth, email, password))
    assert refused[:2] == (_C.UNAUTHENTICATED, "LOGIN_FAILED")
    assert refused == await _refusal(_login(auth, VIEWER, "another wrong one"))


async def test_a_login_without_its_fields_names_both(auth: Any) -> None:
    """ASVS 2.2.1."""
    code, reason, message = await _refusal(_login(auth, "", ""))
    assert (code, reason) == (_C.INVALID_ARGUMENT, "VALIDATION_FAILED")
    assert "email" in message


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "CREDENTIAL_MISSING"),
        ((("authorization", "Basic dmlld2Vy"),), "CREDENTIAL_INVALID"),
        ((("authorization", "Bearer"),), "CREDENTIAL_INVALID"),
        (_bearer("not.a.token"), "CREDENTIAL_INVALID"),
        (_bearer("x" * 5000), "CREDENTIAL_INVALID"),
        (_bearer("eyJhbGciOiJub25lIn0.e30."), "CREDENTIAL_INVALID"),
    ],
)
async def test_without_a_good_token_nothing_is_answered(
    running: Running, metadata: Any, reason: str
) -> None:
    """ASVS 7.2.1, RFC 6750, 2.1: the server asks for a bearer token, and verifies it."""
    code, told, _ = await _refusal(_film(running, metadata))
    assert (code, told) == (_C.UNAUTHENTICATED, reason)


async def test_of_two_credentials_none_counts(auth: Any, running: Running) -> None:
    """RFC 6750, 3.1: a call has one credential."""
    good = _bearer((await _login(auth)).tokens.access_token)
    for metadata in ((*good, *_bearer("x")), (*_bearer("x"), *good)):
        code, reason, _ = await _refusal(_film(running, metadata))
        assert (code, reason) == (_C.UNAUTHENTICATED, "CREDENTIAL_INVALID")


async def test_signing_in_is_possible_with_a_dead_token_in_the_headers(auth: Any) -> None:
    request = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD)
    assert (await auth.Login(request, metadata=_bearer("dead"))).tokens.access_token


async def test_no_secret_is_logged(auth: Any, running: Running) -> None:
    """ASVS 16.2.5."""
    login = await _login(auth)
    await _film(running, _bearer(login.tokens.access_token))
    await _refusal(_login(auth, VIEWER, "a wrong secret password"))
    text = repr(running.lines)
    for secret in (
        PASSWORD,
        "a wrong secret password",
        login.tokens.access_token,
        login.tokens.refresh_token,
        VIEWER,
    ):
        assert secret not in text
    assert login.user.name in text
