"""Sign-in on both databases: login sessions, rotation, users and their commands."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest
import structlog
from sqlalchemy import text
from structlog.testing import CapturingLogger

from server.audit.trail import AuditRows
from server.auth import commands
from server.auth.account_passwords import AccountPasswords
from server.auth.key_ring import ring_of
from server.auth.keys import signing_key_from_secret
from server.auth.password_repository import PasswordRows
from server.auth.passwords import Passwords
from server.auth.revocations import Revocations
from server.auth.session_repository import SessionRows
from server.auth.sessions import Device, Login, Sessions, SessionTimes
from server.auth.sign_in import SignIn
from server.auth.token_pairs import TokenPairs
from server.auth.tokens import AccessTokens, RefreshTokens
from server.auth.user_repository import UserRows
from server.auth.users import Users
from server.auth_parts import changes_of
from server.core.errors import (
    DomainError,
    ResourceNotFound,
    Unauthenticated,
    ValidationFailed,
)
from server.database.engine import Database
from tests.support.auth import MovableClock, attempts_without_limit, passwords_at
from tests.support.login_sessions import reason_of, record_of

EMAIL = "ann@example.com"
PASSWORD = "correct horse battery"


@dataclass
class House:
    """The slice as it is put together, over one database."""

    database: Database
    clock: MovableClock
    passwords: Passwords
    tokens: AccessTokens
    sign_in: SignIn
    sessions: Sessions
    users: Users
    log: CapturingLogger

    async def login(self, email: str = EMAIL, password: str = PASSWORD) -> Login:
        device = Device("laptop", "grpcurl/1.8", "::1")
        return await self.sign_in.login(email, password, device, record_of("Login"))

    async def suspend(self, email: str) -> None:
        async with self.database.write() as session:
            await session.execute(
                text("UPDATE app_user SET state = 'suspended' WHERE email = :e"), {"e": email}
            )

    async def count(self, table: str, condition: str = "1 = 1") -> int:
        query = text(f"SELECT count(*) AS n FROM {table} WHERE {condition}")
        row = await self.database.read.first(query)
        assert row is not None
        return int(row.n)


def build(database: Database, cost: int = 4) -> House:
    clock = MovableClock()
    log = CapturingLogger()
    logger = structlog.wrap_logger(log, processors=[])
    passwords = passwords_at(cost, logger)
    keys = ring_of(signing_key_from_secret(b"k" * 32), clock.now)
    revocations = Revocations(clock=clock, lifetime=timedelta(minutes=16))
    tokens = AccessTokens(keys, issuer="i", audience="a", clock=clock, revocations=revocations)
    rows, audits = UserRows(database), AuditRows(database, clock)
    sessions = Sessions(
        SessionRows(database, audits),
        TokenPairs(tokens, RefreshTokens()),
        SessionTimes(),
        clock=clock,
        log=logger,
    )
    attempts = attempts_without_limit(database, clock)
    accounts = AccountPasswords(PasswordRows(database, audits), passwords)
    sign_in = SignIn(rows, attempts, accounts, sessions)
    changes = changes_of(database, passwords, revocations, audits, clock)
    users = Users(rows, changes, audits.store)
    return House(database, clock, passwords, tokens, sign_in, sessions, users, log)


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    made = build(database)
    await made.users.create_user(EMAIL, PASSWORD, ["viewer"])
    yield made
    await made.passwords.close()


async def test_login_opens_a_session(house: House) -> None:
    """ASVS 7.2.2: tokens are made at sign-in, each of the session and with its own end."""
    login = await house.login()
    principal = house.tokens.verify(login.tokens.access_token)
    assert principal.user_id == login.user.user_id
    assert principal.session_id == login.session.session_id
    assert principal.roles == ("viewer",)
    assert principal.auth_time == house.clock.now
    assert login.tokens.access_expire_time == house.clock.now + timedelta(minutes=15)
    assert login.tokens.refresh_after == timedelta(minutes=10)
    assert login.tokens.refresh_expire_time == house.clock.now + timedelta(days=30)
    assert login.user.last_login_time == house.clock.now
    assert await house.sessions.current(principal) == login.user


async def test_login_keeps_what_the_client_says_of_itself_within_its_columns(house: House) -> None:
    device = Device("é" * 70, "a\0b\n" * 200, "f" * 99)
    await house.sign_in.login(EMAIL, PASSWORD, device, record_of("Login"))
    row = await house.database.read.first(text("SELECT * FROM login_session"))
    assert row is not None
    assert row.device_label == "é" * 64
    assert row.user_agent == "a b " * 64
    assert row.ip_address == "f" * 64


async def test_address_is_compared_without_regard_to_case(house: House) -> None:
    assert (await house.login("Ann@EXAMPLE.com")).user.email == EMAIL


async def test_whoever_may_not_sign_in_gets_one_answer(house: House) -> None:
    """ASVS 6.3.8: neither address, password nor state of the account is told apart."""
    await house.users.create_user("barred@example.com", PASSWORD, [])
    await house.suspend("barred@example.com")
    attempts = [
        (EMAIL, "wrong horse battery"),
        (EMAIL, PASSWORD + "x" * 72),
        (EMAIL, PASSWORD + "\0"),
        ("nobody@example.com", PASSWORD),
        ("barred@example.com", PASSWORD),
        ("no address", PASSWORD),
    ]
    answers = set()
    for email, password in attempts:
        with pytest.raises(Unauthenticated) as caught:
            await house.login(email, password)
        answers.add((caught.value.reason, caught.value.message, tuple(caught.value.metadata)))
    assert answers == {("LOGIN_FAILED", "the e-mail address or the password is wrong", ())}
    assert await house.count("login_session") == 0


class ChangedMeanwhile:
    """Checks a password while somebody replaces it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def verify(self, password: str, stored_hash: str | None, *, subject: str = "") -> bool:
        matches = await self._house.passwords.verify(password, stored_hash, subject=subject)
        await self._house.users.set_password(EMAIL, "another horse battery")
        return matches

    async def renewed(self, password: str, stored_hash: str) -> str:
        return stored_hash


async def test_password_that_changes_while_it_is_checked_opens_nothing(house: House) -> None:
    """ASVS 15.4.2: what was checked must still hold when the session is opened."""
    attempts = attempts_without_limit(house.database, house.clock)
    hashes = PasswordRows(house.database, AuditRows(house.database, house.clock))
    accounts = AccountPasswords(hashes, ChangedMeanwhile(house))
    sign_in = SignIn(UserRows(house.database), attempts, accounts, house.sessions)
    login = sign_in.login(EMAIL, PASSWORD, Device(), record_of("Login"))
    assert await reason_of(login) == "LOGIN_FAILED"
    assert await house.count("login_session") == 0


async def test_created_user_is_listed_with_roles(house: House) -> None:
    await house.users.create_user("Zoe@Example.com", PASSWORD, ["staff", "admin", "staff"])
    await house.users.create_user("Bob@example.com", PASSWORD, [])
    found = [(user.email, user.roles, user.state) for user in await house.users.list_users()]
    assert found == [
        (EMAIL, ("viewer",), "active"),
        ("bob@example.com", (), "active"),
        ("zoe@example.com", ("admin", "staff"), "active"),
    ]


async def test_creating_a_user_lists_every_fault(house: House) -> None:
    """ASVS 2.2.1."""
    with pytest.raises(ValidationFailed) as caught:
        await house.users.create_user("nobody", PASSWORD, ["viewer", "boss", "root"])
    assert [violation.field for violation in caught.value.violations] == [
        "email",
        "roles[1]",
        "roles[2]",
    ]
    assert "viewer, customer, staff, manager, admin" in caught.value.violations[1].description


async def test_taken_address_is_refused_and_named(house: House) -> None:
    (ann,) = await house.users.list_users()
    with pytest.raises(DomainError) as caught:
        await house.users.create_user("ANN@example.com", PASSWORD, [])
    assert caught.value.reason == "RESOURCE_EXISTS"
    assert caught.value.resource is not None
    assert caught.value.resource.name == ann.name


async def test_race_for_one_address_has_one_winner(house: House) -> None:
    """ASVS 15.4.2."""
    outcomes = await asyncio.gather(
        *(house.users.create_user("new@example.com", PASSWORD, ["viewer"]) for _ in range(8)),
        return_exceptions=True,
    )
    assert Counter(type(outcome).__name__ for outcome in outcomes) == {"User": 1, "DomainError": 7}
    assert await house.count("app_user", "email = 'new@example.com'") == 1
    assert {o.reason for o in outcomes if isinstance(o, DomainError)} == {"RESOURCE_EXISTS"}


async def test_granting_a_role_at_once_and_again_gives_it_once(house: House) -> None:
    """ASVS 15.4.2."""
    await asyncio.gather(*(house.users.grant_role(EMAIL, "admin") for _ in range(5)))
    user = await house.users.grant_role("ANN@example.com", "admin")
    assert user.roles == ("admin", "viewer")
    assert await house.count("app_user_role") == 2


async def test_granting_what_or_to_whom_there_is_not_is_refused(house: House) -> None:
    """ASVS 2.2.1."""
    assert await reason_of(house.users.grant_role(EMAIL, "boss")) == "VALIDATION_FAILED"
    with pytest.raises(ResourceNotFound):
        await house.users.grant_role("nobody@example.com", "viewer")


async def test_new_password_replaces_the_old_one_and_ends_the_sessions(house: House) -> None:
    """ASVS 7.4.1, 7.4.3: neither the refresh token nor the access token counts any more."""
    login = await house.login()
    house.clock.advance(minutes=1)
    await house.users.set_password(EMAIL, "another horse battery")
    assert await reason_of(house.login()) == "LOGIN_FAILED"
    refresh = house.sessions.refresh(login.tokens.refresh_token, None, record_of())
    assert await reason_of(refresh) == "TOKEN_REVOKED"
    with pytest.raises(Unauthenticated):
        house.tokens.verify(login.tokens.access_token)
    again = await house.login(password="another horse battery")
    assert again.user.password_change_time == house.clock.now


async def test_demo_users_are_created_once_and_can_sign_in(house: House) -> None:
    """ASVS 6.4.1: each has a long password that is made with it."""
    created = dict(await house.users.ensure_demo_users())
    assert list(created) == ["viewer@example.com", "admin@example.com"]
    assert all(
        len(p) >= 20 and p.replace("-", "").replace("_", "").isalnum() for p in created.values()
    )
    admin = await house.login("admin@example.com", created["admin@example.com"])
    assert admin.user.roles == ("admin",)
    assert await house.users.ensure_demo_users() == []
    await house.login("viewer@example.com", created["viewer@example.com"])


async def test_stored_garbage_names_its_user_in_the_alarm(house: House) -> None:
    """ASVS 16.3.3."""
    async with house.database.write() as session:
        await session.execute(text("UPDATE app_user SET password_hash = 'garbage'"))
    assert await reason_of(house.login()) == "LOGIN_FAILED"
    (ann,) = await house.users.list_users()
    assert [call.kwargs["subject"] for call in house.log.calls] == [ann.name]


async def test_loop_goes_on_while_four_sign_in(database: Database) -> None:
    house = build(database, cost=10)
    await house.users.create_user(EMAIL, PASSWORD, [])
    logins = asyncio.gather(*(house.login() for _ in range(4)))
    ticks = 0
    while not logins.done():
        await asyncio.sleep(0.001)
        ticks += 1
    assert len({login.session.session_id for login in await logins}) == 4
    assert ticks > 20
    await house.passwords.close()


async def test_users_commands(house: House) -> None:
    out, err = io.StringIO(), io.StringIO()
    bob = "bob@example.com"
    created = await commands.create(
        house.users, email=bob, roles=["staff", "viewer"], password=PASSWORD, out=out, err=err
    )
    granted = await commands.grant(house.users, email=bob, role="admin", out=out, err=err)
    changed = await commands.set_password(
        house.users, email=bob, password="another horse battery", out=out, err=err
    )
    listed = await commands.list_all(house.users, out=out, err=err)
    assert [created, granted, changed, listed] == [0, 0, 0, 0]
    assert err.getvalue() == ""
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("created bob@example.com as users/")
    UUID(lines[0].split("users/")[1][:36])
    assert lines[1] == "bob@example.com has roles admin, staff, viewer"
    assert lines[3].split() == ["EMAIL", "ROLES", "STATE", "CREATED", "LAST", "LOGIN", "NAME"]
    assert lines[5].split() == [
        bob,
        "admin,staff,viewer",
        "active",
        "2026-03-01",
        "12:00Z",
        "never",
        lines[0].split()[3],
    ]
    await house.login(bob, "another horse battery")


async def test_users_commands_say_in_one_line_what_is_wrong(house: House) -> None:
    async def create(email: str, role: str, password: str) -> tuple[int, str]:
        err = io.StringIO()
        code = await commands.create(
            house.users, email=email, roles=[role], password=password, out=io.StringIO(), err=err
        )
        return code, err.getvalue()

    bob = "bob@example.com"
    assert await create(bob, "boss", PASSWORD) == (
        2,
        "error: roles[0]: must be one of viewer, customer, staff, manager, admin; not 'boss'\n",
    )
    assert await create("bob", "viewer", PASSWORD) == (
        2,
        "error: email: must be an e-mail address such as name@example.com\n",
    )
    assert await create(bob, "viewer", "secret") == (
        2,
        "error: password: must have 15 to 256 characters and at most 1024 bytes of UTF-8\n",
    )
    assert await create(EMAIL, "viewer", PASSWORD) == (
        1,
        "error: another user has this address already; choose another one\n",
    )
    err = io.StringIO()
    grant = commands.grant(house.users, email=bob, role="viewer", out=io.StringIO(), err=err)
    assert await grant == 1
    assert err.getvalue() == "error: bob@example.com does not exist\n"


@pytest.mark.parametrize(
    ("typed", "password"),
    [("secret\n", "secret"), ("secret\r\n", "secret"), (" secret ", " secret "), ("a\nb\n", "a")],
)
def test_password_is_the_first_line_of_the_input(typed: str, password: str) -> None:
    assert commands.read_password(io.StringIO(typed, newline="")) == password
