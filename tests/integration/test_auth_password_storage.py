"""How stored passwords change: earlier forms, a dearer hash, another pepper, another secret."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bcrypt
import grpc
import pytest

from server.app import Application
from server.core.clock import utc_now
from server.process import with_pepper
from server.settings import Settings, SettingsError, load_settings
from tests.support.amount import amount
from tests.support.running import (
    PASSWORD,
    PEPPER,
    SECRET,
    VIEWER,
    Running,
    capturing_log,
    running_server,
)
from tests.support.signing_in import Door
from tests.support.statuses import refused

OTHER = "another pepper that is only for tests, 32+ bytes"
BARE = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
"""What earlier versions stored."""


@pytest.fixture
async def door(shared: Running) -> Door:
    return await Door.of_somebody_new(shared)


@asynccontextmanager
async def replica(running: Running, secret: bytes = SECRET, **changed: Any) -> AsyncIterator[Door]:
    """Another server over the same database, with other settings."""
    log, lines = capturing_log()
    settings = running.app.settings.model_copy(update=changed)
    settings = Settings.model_validate(settings.model_dump())
    app = Application(settings, secret, utc_now, log)
    port = await app.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Door(Running(app, port, channel, lines), VIEWER)
    hurry = asyncio.Event()
    hurry.set()
    await app.stop(hurry)


async def test_hash_of_an_earlier_version_is_replaced_and_nothing_else_changes(
    door: Door,
) -> None:
    """ASVS 11.4.2: at the next sign-in, without anybody being asked."""
    tokens = (await door.login()).tokens
    await door.set_fields(password_hash=BARE)
    before = await door.kept()
    await door.login()
    after = await door.kept()
    assert after.password_hash.startswith("v1$")
    changed = {name for name, value in before._mapping.items() if after._mapping[name] != value}
    assert changed <= {"password_hash", "last_login_time"}
    await door.who_am_i(tokens)
    await door.login()
    assert (await door.kept()).password_hash == after.password_hash


async def test_a_wrong_password_replaces_nothing(door: Door) -> None:
    """ASVS 11.4.2: only the right password has its hash made anew."""
    await door.set_fields(password_hash=BARE)
    before = await door.kept()
    assert (await refused(door.login(PASSWORD + "!"))).reason == "LOGIN_FAILED"
    assert await door.kept() == before


async def test_all_who_sign_in_at_once_with_an_earlier_hash_get_in(door: Door) -> None:
    """ASVS 15.4.2: one replaces it; who verified the hash that is gone is not refused."""
    for _ in range(amount(2, 40)):
        await door.set_fields(password_hash=BARE)
        answers = await asyncio.gather(*(door.login() for _ in range(8)))
        assert all(answer.tokens.access_token for answer in answers)
        kept = (await door.kept()).password_hash
        assert kept.startswith("v1$")
        await door.login()
        assert (await door.kept()).password_hash == kept


async def test_a_password_can_be_changed_while_its_hash_is_of_before(door: Door) -> None:
    """ASVS 6.2.2: also a password that an earlier version stored can be changed."""
    tokens = (await door.login()).tokens
    await door.set_fields(password_hash=BARE)
    await door.change(tokens, "three quiet otters juggle")
    assert (await refused(door.login())).reason == "LOGIN_FAILED"
    await door.login("three quiet otters juggle")


async def test_user_without_a_password_cannot_sign_in_and_is_no_alarm(
    door: Door, shared: Running
) -> None:
    """ASVS 6.4.1: who has no password has no default one either."""
    await door.set_fields(password_hash="")
    for password in (PASSWORD, " ", "\x00"):
        assert (await refused(door.login(password))).reason == "LOGIN_FAILED"
    assert "stored_password_hash_unusable" not in repr(shared.lines)


async def test_a_dearer_hash_is_made_at_the_next_sign_in(running: Running) -> None:
    """ASVS 11.4.2: the cost of the hash can be raised for passwords that are stored already."""
    async with replica(running, password_cost=5) as door:
        assert "$04$" in (await door.kept()).password_hash
        await door.login()
        assert "$05$" in (await door.kept()).password_hash


async def test_a_pepper_is_changed_without_locking_anybody_out(running: Running) -> None:
    """ASVS 13.3.4, as docs/operations.md, "Keys", tells operators."""
    before = (await Door(running, VIEWER).kept()).password_hash
    async with replica(running, password_pepper=OTHER, password_pepper_previous=PEPPER) as door:
        await door.login()
        assert (await door.kept()).password_hash.split("$")[1] != before.split("$")[1]
    async with replica(running, password_pepper=OTHER) as door:
        await door.login()
        late = Door(door.running, "admin@example.com")
        assert (await refused(late.login())).reason == "LOGIN_FAILED"
        alarms = [line for line in door.running.lines if "unusable" in line.kwargs["event"]]
        assert len(alarms) == 1
        assert alarms[0].kwargs["subject"].startswith("users/")
    # The other order: a replica that has not heard of the new one yet is not locked out either.
    async with replica(running, password_pepper_previous=OTHER) as door:
        await door.login()


async def test_another_secret_leaves_passwords_alone(running: Running) -> None:
    """The pepper is not made from SECRET_KEY: that may be lost or changed at any time."""
    async with replica(running, b"another secret that is only for tests, 32+") as door:
        before = (await door.kept()).password_hash
        await door.login()
        assert (await door.kept()).password_hash == before


async def test_pepper_is_made_at_the_first_start_and_kept(tmp_path: Path) -> None:
    """ASVS 13.3.1: each installation has a pepper of its own, which only its owner can read."""
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    made = await with_pepper(settings)
    (pepper,) = made.peppers
    assert len(pepper) >= 32
    assert (await with_pepper(settings)).peppers == (pepper,)
    file = tmp_path / "data/password-pepper"
    assert file.read_bytes() == pepper
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert pepper.decode() in made.secret_values
    other = await with_pepper(settings.model_copy(update={"data_dir": tmp_path / "other"}))
    assert other.peppers != made.peppers


async def test_pepper_that_is_set_is_taken_and_nothing_is_kept(tmp_path: Path) -> None:
    """ASVS 13.3.1: a pepper that operators manage is not written to the disk."""
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", password_pepper=PEPPER)
    assert (await with_pepper(settings)).peppers == (PEPPER.encode(),)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["password_pepper", "password_pepper_previous"])
def test_short_pepper_stops_the_start_without_being_shown(name: str) -> None:
    """ASVS 11.2.3, 16.2.5: a pepper has at least 32 bytes; the one that is refused is not shown."""
    with pytest.raises(SettingsError) as caught:
        load_settings(_env_file=None, **{name: "a short pepper"})
    assert str(caught.value) == f"{name.upper()}: must have at least 32 bytes"


def test_production_demands_a_pepper() -> None:
    """ASVS 13.3.1: in production the pepper is one that operators manage."""
    chosen = {"environment": "production", "secret_key": "0123456789abcdef" * 4}
    with pytest.raises(SettingsError, match="PASSWORD_PEPPER: must be set in production"):
        load_settings(_env_file=None, **chosen)


async def test_of_two_starts_at_once_both_have_the_same_pepper(tmp_path: Path) -> None:
    """ASVS 15.4.2: of processes that start at once one makes the pepper, and all take it."""
    settings = Settings(_env_file=None, data_dir=tmp_path)
    made = await asyncio.gather(*(with_pepper(settings) for _ in range(8)))
    assert len({one.peppers for one in made}) == 1


@pytest.fixture
async def busy(sample_database_url: str, tmp_path: Path) -> AsyncIterator[Door]:
    """A server that has room for one password at a time, and for one that waits."""
    async with running_server(
        sample_database_url,
        tmp_path,
        max_running_logins=1,
        max_waiting_logins=1,
        password_cost=10,
    ) as running:
        yield Door(running, VIEWER)


async def test_surplus_of_sign_ins_is_refused_and_the_rest_is_answered(busy: Door) -> None:
    """ASVS 15.1.3."""
    outcomes = await asyncio.gather(*(busy.login() for _ in range(8)), return_exceptions=True)
    answered = [one for one in outcomes if not isinstance(one, BaseException)]
    assert 1 <= len(answered) < 8
    for one in outcomes:
        if isinstance(one, grpc.aio.AioRpcError):
            assert one.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await busy.login()).tokens.access_token
