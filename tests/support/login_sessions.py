"""Login sessions over a database of each kind, with users put there without a password."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from sqlalchemy import delete, insert, select, text, update
from structlog.testing import CapturingLogger

from server.audit.models import AuditEvent
from server.audit.trail import AuditRows
from server.auth.domain import ACTIVE, Account, User
from server.auth.key_ring import ring_of
from server.auth.keys import signing_key_from_secret
from server.auth.models import AppUser, AppUserRole, LoginSession, RefreshToken
from server.auth.session_repository import SessionRows
from server.auth.sessions import Device, Login, Sessions, SessionTimes
from server.auth.token_pairs import TokenPair, TokenPairs
from server.auth.tokens import AccessTokens, RefreshTokens
from server.core.audit import AuditRecord
from server.core.errors import DomainError
from server.core.principal import Principal
from server.database.engine import Database
from tests.support.auth import MovableClock

HASH = "no hash of any password"


def record_of(method: str = "Test") -> AuditRecord:
    """Return the record of a call that nobody asks about."""
    return AuditRecord(method, "request")


@dataclass
class SessionHouse:
    """Sessions as they are put together, and what lies around them."""

    database: Database
    clock: MovableClock
    tokens: AccessTokens
    sessions: Sessions
    log: CapturingLogger
    ann: Account

    async def add_user(self, *roles: str) -> Account:
        """Store an active user."""
        now, email = self.clock(), f"{uuid4()}@example.com"
        user = User(uuid4(), email, "", tuple(sorted(roles)), ACTIVE, now, now, None, now)
        async with self.database.write() as session:
            await session.execute(
                insert(AppUser),
                {
                    "user_id": user.user_id,
                    "email": email,
                    "password_hash": HASH,
                    "create_time": now,
                    "update_time": now,
                    "password_change_time": now,
                },
            )
        await self.give_roles(user.user_id, *roles)
        return Account(user, HASH)

    async def give_roles(self, user_id: UUID, *roles: str) -> None:
        """Let a user have these roles and no others."""
        async with self.database.write() as session:
            await session.execute(delete(AppUserRole).where(AppUserRole.user_id == user_id))
            for role in roles:
                await session.execute(insert(AppUserRole), {"user_id": user_id, "role": role})

    async def set_state(self, account: Account, state: str) -> None:
        """Put a user into a state."""
        async with self.database.write() as session:
            await session.execute(
                update(AppUser).where(AppUser.user_id == account.user.user_id).values(state=state)
            )

    async def login(self, account: Account | None = None, scopes: Sequence[str] = ()) -> Login:
        """Open a session as a sign-in does whose password was right."""
        device = Device("laptop", "grpcurl/1.8", "::1")
        login = await self.sessions.open(account or self.ann, device, scopes, record_of("Login"))
        assert login is not None
        return login

    async def refresh(self, token: str, request_id: UUID | None = None) -> TokenPair:
        """Refresh."""
        return await self.sessions.refresh(token, request_id, record_of("RefreshToken"))

    async def logout(self, principal: Principal, *, all_sessions: bool = False) -> None:
        """Sign out."""
        await self.sessions.logout(principal, record_of("Logout"), all_sessions=all_sessions)

    def principal(self, login: Login) -> Principal:
        """Return whose access token the login gave."""
        return self.tokens.verify(login.tokens.access_token)

    async def count(self, table: str, condition: str = "1 = 1") -> int:
        """Count rows."""
        query = text(f"SELECT count(*) AS n FROM {table} WHERE {condition}")
        row = await self.database.read.first(query)
        assert row is not None
        return int(row.n)

    async def kept_sessions(self) -> Sequence[Any]:
        """Return the rows of Ann's sessions."""
        of_ann = LoginSession.user_id == self.ann.user.user_id
        return await self.database.read.all(select(LoginSession.__table__).where(of_ann))

    async def kept_tokens(self) -> Sequence[Any]:
        """Return the rows of Ann's refresh tokens."""
        return await self.database.read.all(
            select(RefreshToken.__table__)
            .join(LoginSession)
            .where(LoginSession.user_id == self.ann.user.user_id)
        )

    async def audited(self) -> Sequence[Any]:
        """Return what the audit trail has of Ann."""
        return await self.database.read.all(
            select(AuditEvent.__table__)
            .where(AuditEvent.principal == f"users/{self.ann.user.user_id}")
            .order_by(AuditEvent.event_id)
        )

    def events(self) -> list[str]:
        """Return what was logged."""
        return [call.kwargs["event"] for call in self.log.calls]


async def session_house(
    database: Database,
    lifetime: timedelta = timedelta(days=30),
    grace: timedelta = timedelta(seconds=10),
) -> SessionHouse:
    """Put the parts together, with a user, a viewer, who has nothing yet."""
    clock, log = MovableClock(), CapturingLogger()
    keys = ring_of(signing_key_from_secret(b"k" * 32), clock.now)
    tokens = AccessTokens(keys, issuer="i", audience="a", clock=clock)
    sessions = Sessions(
        SessionRows(database, AuditRows(database, clock)),
        TokenPairs(tokens, RefreshTokens()),
        SessionTimes(lifetime, grace),
        clock=clock,
        log=structlog.wrap_logger(log, processors=[]),
    )
    now = clock()
    nobody = Account(User(uuid4(), "", "", (), ACTIVE, now, now, None, now), HASH)
    house = SessionHouse(database, clock, tokens, sessions, log, nobody)
    house.ann = await house.add_user("viewer")
    return house


async def reason_of(attempt: object) -> str:
    """Return why an attempt is refused."""
    with pytest.raises(DomainError) as caught:
        await attempt  # type: ignore[misc]  # any coroutine
    return caught.value.reason
