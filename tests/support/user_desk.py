"""Administrators, owners and the users that they change, at a server in the test's own loop."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import insert, select

from server.audit.models import AuditEvent
from server.core.resource_names import canonical
from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.auth.v1 import user_service_pb2 as pb
from server.rentals.models import Address, City, Country, Customer, Staff, Store
from tests.support.auth import MovableClock
from tests.support.caller import Caller
from tests.support.running import ADMIN, PASSWORD, Running
from tests.support.statuses import Told, told_by

NOBODY = "users/nobody-at-all"


def new_email() -> str:
    """Return an address that nobody has."""
    return f"{uuid4().hex}@example.com"


class Desk(Caller):
    """An administrator at work."""

    @classmethod
    async def open(cls, running: Running) -> "Desk":
        """Sign an administrator in."""
        return cls(running, await running.sign_in(ADMIN))

    async def create(self, email: str = "", **fields: Any) -> resources.User:
        """Create a user with a password that PASSWORD is, unless told otherwise."""
        request = {"initial_password": PASSWORD, **fields}
        user = {"email": email or new_email(), **request.pop("user", {})}
        created: resources.User = await self.CreateUser(
            pb.CreateUserRequest(user=resources.User(**user), **request)
        )
        return created

    async def get(self, name: str) -> resources.User:
        """Read a user."""
        user: resources.User = await self.GetUser(pb.GetUserRequest(name=name))
        return user

    def update(self, name: str, paths: Sequence[str] = (), **fields: Any) -> Any:
        """Return the call that sets fields of a user, under a mask where there are paths."""
        mask = FieldMask(paths=paths) if paths else None
        user = resources.User(name=name, **fields)
        return self.UpdateUser(pb.UpdateUserRequest(user=user, update_mask=mask))

    def grant(self, name: str, role: str, etag: str = "") -> Any:
        """Return the call that gives a role."""
        return self.GrantRole(pb.GrantRoleRequest(name=name, role=role, etag=etag))

    def revoke(self, name: str, role: str, etag: str = "") -> Any:
        """Return the call that takes a role."""
        return self.RevokeRole(pb.RevokeRoleRequest(name=name, role=role, etag=etag))

    def revoke_admin(self, name: str) -> Any:
        """Return the call that takes the role of an administrator."""
        return self.revoke(name, "roles/admin")

    def suspend(self, name: str, **fields: str) -> Any:
        """Return the call that bars a user."""
        return self.SuspendUser(pb.SuspendUserRequest(name=name, **fields))

    def reactivate(self, name: str, etag: str = "") -> Any:
        """Return the call that lets a barred user in again."""
        return self.ReactivateUser(pb.ReactivateUserRequest(name=name, etag=etag))

    def delete(self, name: str, etag: str = "") -> Any:
        """Return the call that deletes a user."""
        return self.DeleteUser(pb.DeleteUserRequest(name=name, etag=etag))

    def undelete(self, name: str, etag: str = "") -> Any:
        """Return the call that takes a deletion back."""
        return self.UndeleteUser(pb.UndeleteUserRequest(name=name, etag=etag))

    def whoami(self) -> Any:
        """Return the call that tells who this is."""
        return self.GetCurrentPrincipal(auth.GetCurrentPrincipalRequest())

    async def sign_in(self, user: resources.User) -> "Desk":
        """Return the user, signed in."""
        return Desk(self.running, await self.running.sign_in(user.email))


async def settled(ask: Callable[[], Any]) -> grpc.aio.UnaryUnaryCall[Any, Any]:
    """Ask until the server is not too busy, which it may say of a race on a busy machine."""
    while True:
        call: grpc.aio.UnaryUnaryCall[Any, Any] = ask()
        if await call.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            return call
        await asyncio.sleep(0.1)


async def race(asks: Iterable[Callable[[], Any]]) -> tuple[list[Any], list[Told]]:
    """Ask everything at once; return the answers and the refusals."""
    answers, refusals = [], []
    for call in await asyncio.gather(*map(settled, asks)):
        try:
            answers.append(await call)
        except grpc.aio.AioRpcError as error:
            refusals.append(told_by(error))
    return answers, refusals


async def signed_in(running: Running, email: str, scopes: Sequence[str] = ()) -> Desk:
    """Return a user who signed in just now, for some permissions alone where there are scopes."""
    request = auth.LoginRequest(email=email, password=PASSWORD, scopes=scopes)
    return _with(running, (await Desk(running).Login(request)).tokens)


async def signed_in_before(
    running: Running, email: str, clock: MovableClock, seconds: float
) -> Desk:
    """Return a user whose token is good and whose password was given so long ago."""
    login = await Desk(running).Login(auth.LoginRequest(email=email, password=PASSWORD))
    clock.advance(seconds=seconds / 2)
    request = auth.RefreshTokenRequest(refresh_token=login.tokens.refresh_token)
    tokens = (await Desk(running).RefreshToken(request)).tokens
    clock.advance(seconds=seconds / 2)
    return _with(running, tokens)


def _with(running: Running, tokens: auth.TokenPair) -> Desk:
    return Desk(running, (("authorization", f"Bearer {tokens.access_token}"),))


async def audited(running: Running, name: str) -> Sequence[Mapping[str, Any]]:
    """Return what the audit trail says of a user, the oldest first."""
    table = AuditEvent.__table__
    rows = await running.app.database.read.all(
        select(table).where(table.c.target == canonical(name)).order_by(table.c.event_id)
    )
    return [dict(row._mapping) for row in rows]


async def count(running: Running, statement: Any) -> int:
    """Return the number of rows that a statement finds."""
    return len(await running.app.database.read.all(statement))


async def plant_shop(running: Running) -> None:
    """Store a shop with the customers 1 and 2 and the staff 1."""
    rows: Sequence[tuple[Any, Mapping[str, Any]]] = (
        (Country, {"country_id": 1, "country": "Chile"}),
        (City, {"city_id": 1, "city": "Arica", "country_id": 1}),
        (
            Address,
            {"address_id": 1, "address": "1 Way", "district": "", "city_id": 1, "phone": ""},
        ),
        (Store, {"store_id": 1, "manager_staff_id": 1, "address_id": 1}),
        (Staff, {"staff_id": 1, "username": "Jo", **_person("Jo", "Poe")}),
        (Customer, {"customer_id": 1, **_person("Ann", "Lee")}),
        (Customer, {"customer_id": 2, **_person("Bob", "Ray")}),
    )
    async with running.app.database.write() as write:
        for table, values in rows:
            await write.execute(insert(table), values)


def _person(first: str, last: str) -> Mapping[str, Any]:
    return {"first_name": first, "last_name": last, "address_id": 1, "store_id": 1}
