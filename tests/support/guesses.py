"""Attempts to sign in with a wrong password, counted without a server, and how long they wait."""

from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import insert

from server.auth.attempt_repository import AttemptRows
from server.auth.attempts import Attempts, Limits
from server.auth.models import AppUser, LoginSession
from server.core.errors import DomainError
from server.database.engine import Database
from tests.support.auth import MovableClock

SECRET = b"k" * 32
EMAIL = "ann@example.com"
HOME, AWAY = "192.0.2.1", "198.51.100.7"


def attempts_over(
    database: Database, clock: MovableClock, limits: Limits | None = None
) -> Attempts:
    """Return what one process counts with."""
    return Attempts(AttemptRows(database), limits or Limits(), SECRET, clock)


async def fail(attempts: Attempts, address: str = HOME, email: str = EMAIL) -> None:
    """Make an attempt with a wrong password, by an account that nobody has."""
    await attempts.begin(email, None, address)


async def wait(attempts: Attempts, address: str = HOME, email: str = EMAIL) -> float:
    """Return the seconds that an attempt would have to wait; one that need not is made."""
    try:
        await attempts.begin(email, None, address)
    except DomainError as error:
        told = error.retry_delay if error.reason == "LOGIN_THROTTLED" else None
        if told is None:
            raise
        return told.total_seconds()
    return 0.0


async def signed_in(database: Database, clock: MovableClock, address: str) -> UUID:
    """Return a user who signed in from an address just now."""
    user_id = uuid4()
    now = clock()
    async with database.write() as write:
        await write.execute(
            insert(AppUser),
            {
                "user_id": user_id,
                "email": f"{user_id}@example.com",
                "password_hash": "",
                "create_time": now,
                "update_time": now,
                "password_change_time": now,
            },
        )
        await write.execute(
            insert(LoginSession),
            {
                "session_id": uuid4(),
                "user_id": user_id,
                "ip_address": address,
                "create_time": now,
                "expire_time": now + timedelta(days=30),
            },
        )
    return user_id
