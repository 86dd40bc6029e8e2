"""Every call that ends a session or changes rights, seen from streams here and elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copy

import grpc
import pytest

from server.generated.interview.agent.v1 import chat_pb2
from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from tests.support.chat_driver import Chat, another_server
from tests.support.running import PASSWORD, Running, running_server
from tests.support.user_desk import Desk, signed_in

NEW_PASSWORD = "another horse battery staple"


@dataclass
class Scene:
    """An administrator, and a user with two sessions; the first one has the chats."""

    admin: Desk
    user: str
    first: Desk
    second: Desk


async def sign_out(scene: Scene) -> None:
    await scene.first.Logout(auth.LogoutRequest())


async def sign_out_everywhere(scene: Scene) -> None:
    await scene.second.Logout(auth.LogoutRequest(all_sessions=True))


async def revoke_session(scene: Scene) -> None:
    name = (await scene.first.whoami()).login_session
    await scene.second.RevokeLoginSession(auth.RevokeLoginSessionRequest(name=name))


async def change_password(scene: Scene) -> None:
    request = auth.ChangePasswordRequest(current_password=PASSWORD, new_password=NEW_PASSWORD)
    await scene.second.ChangePassword(request)


async def suspend(scene: Scene) -> None:
    await scene.admin.suspend(scene.user)


async def delete(scene: Scene) -> None:
    await scene.admin.delete(scene.user)


async def grant(scene: Scene) -> None:
    await scene.admin.grant(scene.user, "roles/customer")


async def revoke(scene: Scene) -> None:
    await scene.admin.revoke(scene.user, "roles/viewer")


Act = Callable[[Scene], Awaitable[None]]
ENDS: tuple[Act, ...] = (
    sign_out,
    sign_out_everywhere,
    revoke_session,
    change_password,
    suspend,
    delete,
)
CHANGES: tuple[Act, ...] = (grant, revoke)


@pytest.fixture(scope="module")
async def here(sqlite_templates: dict[str, Path], shared_folder: Path) -> AsyncIterator[Running]:
    copy(sqlite_templates["sample"], shared_folder / "acts.db")
    url = f"sqlite+aiosqlite:///{shared_folder / 'acts.db'}"
    async with running_server(url, shared_folder, revocation_poll_seconds=0.2) as running:
        await running.app.agents_ready()
        yield running


@pytest.fixture(scope="module")
async def there(here: Running) -> AsyncIterator[Running]:
    async with another_server(here) as running:
        yield running


@pytest.fixture
async def scene(here: Running) -> Scene:
    admin = await Desk.open(here)
    user = await admin.create()
    await admin.grant(user.name, "roles/viewer")
    first, second = [await signed_in(here, user.email) for _ in range(2)]
    return Scene(admin, user.name, first, second)


async def chats(scene: Scene, *servers: Running) -> list[Chat]:
    """Open a chat of the first session at each server."""
    who = [(key, str(value)) for key, value in scene.first.metadata]
    opened = [Chat(server.channel, who) for server in servers]
    for chat in opened:
        await chat.start()
    return opened


@pytest.mark.parametrize("act", ENDS, ids=lambda act: act.__name__)
async def test_what_ends_a_session_ends_its_streams_everywhere(
    here: Running, there: Running, scene: Scene, act: Act
) -> None:
    """ASVS 7.4.1, 7.4.2, 7.4.3, 7.5.2: before the call that did it is answered, or soon."""
    near, far = await chats(scene, here, there)
    await act(scene)
    for chat, seconds in ((near, 1), (far, 5)):
        async with asyncio.timeout(seconds):
            (goodbye,) = await chat.rest()
            end = await chat.end()
        assert goodbye.go_away.reason == chat_pb2.GO_AWAY_REASON_CREDENTIAL_EXPIRED
        assert (end.code, end.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REVOKED")
        assert set(end.metadata) == {"revoked_at"}


@pytest.mark.parametrize("act", CHANGES, ids=lambda act: act.__name__)
async def test_what_changes_rights_warns_chats_everywhere(
    here: Running, there: Running, scene: Scene, act: Act
) -> None:
    """ASVS 7.4, RFC 9700: a stream does not go on for long by the rights of before."""
    near, far = await chats(scene, here, there)
    await act(scene)
    for chat, seconds in ((near, 1), (far, 5)):
        async with asyncio.timeout(seconds):
            await chat.expect("credential_expiring")
        await chat.leave()
