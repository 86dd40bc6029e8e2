"""A real server in the test's own event loop, and signed-in ways to talk to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import structlog
from structlog.testing import CapturingLogger
from structlog.typing import FilteringBoundLogger

from server.app import Application
from server.core.clock import Clock, utc_now
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.settings import Settings

SECRET = b"a secret that is only for tests, 32+ bytes"
PEPPER = "a pepper that is only for tests, 32+ bytes"
PASSWORD = "seven kettles on a quiet roof"
VIEWER = "viewer@example.com"
ADMIN = "admin@example.com"


@dataclass
class Running:
    """A server that answers, a channel to it, and what it logged."""

    app: Application
    port: int
    channel: grpc.aio.Channel
    lines: list[Any] = field(default_factory=list)

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    async def sign_in(self, email: str = VIEWER) -> tuple[tuple[str, str], ...]:
        """Sign in and return the metadata of calls by that user."""
        stub = auth_service_pb2_grpc.AuthServiceStub(self.channel)
        answer = await stub.Login(auth_service_pb2.LoginRequest(email=email, password=PASSWORD))
        return (("authorization", f"Bearer {answer.tokens.access_token}"),)

    def access_lines(self) -> list[dict[str, Any]]:
        """Return the access log's fields, in order."""
        calls = (line.kwargs for line in self.lines if line.kwargs.get("event") == "call")
        return list(calls)


def capturing_log() -> tuple[FilteringBoundLogger, list[Any]]:
    """Return a logger and the list that its lines go to."""
    target = CapturingLogger()
    log: FilteringBoundLogger = structlog.wrap_logger(
        target, processors=[structlog.processors.format_exc_info, _as_keywords]
    )
    return log, target.calls


def _as_keywords(_logger: object, method: str, event: Any) -> Any:
    return (), {**event, "level": method}


@asynccontextmanager
async def running_server(
    database_url: str, data_dir: Path, *, clock: Clock = utc_now, **settings: Any
) -> AsyncIterator[Running]:
    """Start a server on a free port over a migrated database, with a viewer and an admin.

    With `has_users` another server has made these two before.
    """
    has_users = settings.pop("has_users", False)
    chosen = Settings(
        _env_file=None,
        **{
            "database_url": database_url,
            "data_dir": data_dir,
            "port": 0,
            "password_cost": 4,
            "password_pepper": PEPPER,
            # All of a test's users come from one address, and some of them are wrong on purpose.
            "login_rate": 0,
            "login_failures": 0,
            "login_failures_per_address": 0,
            "drain_delay_seconds": 0,
            "grace_seconds": 2,
            **settings,
        },
    )
    log, lines = capturing_log()
    app = Application(chosen, SECRET, clock, log)
    for email, role in () if has_users else ((VIEWER, "viewer"), (ADMIN, "admin")):
        await app.users.create_user(email, PASSWORD, [role])
    port = await app.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield Running(app, port, channel, lines)
        finally:
            await channel.close()
            hurry = asyncio.Event()
            hurry.set()
            await app.stop(hurry)
