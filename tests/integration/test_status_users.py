"""What a caller is told about changing users: one test per row, on both databases."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.auth.v1 import user_service_pb2 as pb
from tests.support.running import Running
from tests.support.statuses import check_call, row
from tests.support.user_desk import NOBODY, Desk, new_email

Prepare = Callable[[Desk], Awaitable[Any]]
"""Returns the call that must fail."""


async def _stale_etag(desk: Desk) -> Any:
    made = await desk.create(initial_password="")
    await desk.update(made.name, display_name="x")
    return desk.suspend(made.name, etag=made.etag)


async def _deleted(desk: Desk) -> Any:
    made = await desk.create(initial_password="")
    await desk.delete(made.name)
    return desk.reactivate(made.name)


async def _not_deleted(desk: Desk) -> Any:
    made = await desk.create(initial_password="")
    return desk.undelete(made.name)


async def _other_request(desk: Desk) -> Any:
    first, second = (resources.User(email=new_email()) for _ in range(2))
    request_id = str(uuid4())
    await desk.CreateUser(pb.CreateUserRequest(user=first, request_id=request_id))
    return desk.CreateUser(pb.CreateUserRequest(user=second, request_id=request_id))


async def _taken_address(desk: Desk) -> Any:
    made = await desk.create(initial_password="")
    user = resources.User(email=made.email)
    return desk.CreateUser(pb.CreateUserRequest(user=user))


def _mask(*paths: str) -> Prepare:
    async def call(desk: Desk) -> Any:
        user = resources.User(name=NOBODY, email=new_email())
        return desk.UpdateUser(pb.UpdateUserRequest(user=user, update_mask=FieldMask(paths=paths)))

    return call


async def _no_customer(desk: Desk) -> Any:
    user = resources.User(email=new_email(), customer="customers/4242")
    return desk.CreateUser(pb.CreateUserRequest(user=user))


async def _weak_password(desk: Desk) -> Any:
    user = resources.User(email=new_email())
    return desk.CreateUser(pb.CreateUserRequest(user=user, initial_password="weak"))


async def _no_role(desk: Desk) -> Any:
    return desk.grant(NOBODY, "roles/boss")


async def _nobody(desk: Desk) -> Any:
    return desk.delete(NOBODY)


ROWS = [
    row("VALIDATION_FAILED", "an unknown role", _no_role),
    row("FIELD_MASK_INVALID", "a path that is no field", _mask("email", "colour")),
    row("FIELD_MASK_INVALID", "a path in camel case", _mask("displayName")),
    row("FIELD_MASK_INVALID", "the name", _mask("name")),
    row("REFERENCE_NOT_FOUND", "no such customer", _no_customer),
    row("PASSWORD_POLICY", "a weak first password", _weak_password),
    row("RESOURCE_NOT_FOUND", "no such user", _nobody),
    row("RESOURCE_DELETED", "a deleted user", _deleted),
    row("RESOURCE_EXISTS", "an address that is taken", _taken_address),
    row("REQUEST_ID_REUSED", "a request_id of another request", _other_request),
    row("WRONG_STATE", "a user that is not deleted", _not_deleted),
    row("ETAG_MISMATCH", "an etag of before", _stale_etag),
]


@pytest.mark.parametrize(("reason", "prepare"), ROWS)
async def test_row(shared: Running, reason: str, prepare: Prepare) -> None:
    desk = await Desk.open(shared)
    await check_call(shared, await prepare(desk), reason)
