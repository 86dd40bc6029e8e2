"""Signing in and changing passwords at a server in the test's own loop."""

from typing import Any
from uuid import uuid4

from sqlalchemy import select, update

from server.audit.models import AuditEvent
from server.auth.models import AppUser
from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from server.generated.interview.auth.v1 import auth_service_pb2_grpc
from tests.support.running import PASSWORD, Running

Metadata = tuple[tuple[str, str], ...]


class Door:
    """Where somebody signs in: `email`, who is a viewer and whose password is PASSWORD."""

    def __init__(self, running: Running, email: str) -> None:
        self.running = running
        self.email = email
        self.stub: Any = auth_service_pb2_grpc.AuthServiceStub(running.channel)

    @classmethod
    async def of_somebody_new(cls, running: Running) -> "Door":
        """Create a user to sign in."""
        email = f"{uuid4().hex}@example.com"
        await running.app.users.create_user(email, PASSWORD, ["viewer"])
        return cls(running, email)

    def login(self, password: str = PASSWORD, email: str = "") -> Any:
        """Return the call that signs in."""
        request = auth.LoginRequest(email=email or self.email, password=password)
        return self.stub.Login(request, timeout=10)

    def change(self, tokens: Any, new: str, *, current: str = PASSWORD, keep: bool = False) -> Any:
        """Return the call that changes a password."""
        request = auth.ChangePasswordRequest(
            current_password=current, new_password=new, keep_other_sessions=keep
        )
        return self.stub.ChangePassword(request, metadata=bearer(tokens), timeout=10)

    def who_am_i(self, tokens: Any) -> Any:
        """Return a call that needs a living session."""
        request = auth.GetCurrentPrincipalRequest()
        return self.stub.GetCurrentPrincipal(request, metadata=bearer(tokens), timeout=10)

    def refresh(self, tokens: Any) -> Any:
        """Return the call that asks for the next pair."""
        request = auth.RefreshTokenRequest(refresh_token=tokens.refresh_token)
        return self.stub.RefreshToken(request, timeout=10)

    async def kept(self) -> Any:
        """Return the user's row."""
        query = select(AppUser.__table__).where(AppUser.email == self.email)
        return await self.running.app.database.read.first(query)

    async def set_fields(self, **values: Any) -> None:
        """Change the user's row by hand."""
        change = update(AppUser).where(AppUser.email == self.email).values(**values)
        async with self.running.app.database.write() as write:
            await write.execute(change)

    async def audited(self, method: str) -> list[Any]:
        """Return the records of a method in the audit trail, whoever called it."""
        query = select(AuditEvent.__table__).order_by(AuditEvent.event_id)
        rows = await self.running.app.database.read.all(query)
        return [row for row in rows if row.method.endswith(f"/{method}")]


def bearer(tokens: Any) -> Metadata:
    """Return the metadata of calls with an access token."""
    return (("authorization", f"Bearer {tokens.access_token}"),)
