"""Calls with a request_id (AIP-155): done once, answered the same for 24 hours."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from server.auth.models import AppUser
from server.database.idempotency import IdempotentCall
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.auth.v1 import user_service_pb2 as pb
from tests.support.amount import amount
from tests.support.auth import MovableClock
from tests.support.running import PASSWORD, Running, running_server
from tests.support.statuses import check_row, refused
from tests.support.user_desk import Desk, audited, count, new_email, race, settled

REPLAY = ("x-interview-idempotent-replay", "true")
CALLERS = 20


@pytest.fixture
async def desk(shared: Running) -> Desk:
    return await Desk.open(shared)


@pytest.fixture
async def roomy(sample_database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """An administrator at a server that lets all callers in at a time."""
    async with running_server(
        sample_database_url, tmp_path, max_running_logins=CALLERS, max_running_writes=CALLERS
    ) as server:
        yield await Desk.open(server)


def _request(email: str, request_id: str, **fields: Any) -> pb.CreateUserRequest:
    user = resources.User(email=email, display_name=fields.pop("display_name", ""))
    return pb.CreateUserRequest(
        user=user, request_id=request_id, initial_password=PASSWORD, **fields
    )


async def _answer(call: Any) -> tuple[resources.User, bool]:
    """Return the answer, and whether it is said to be a repeated one."""
    return await call, REPLAY in tuple(await call.trailing_metadata() or ())


def _users(email: str) -> Any:
    return select(AppUser.user_id).where(AppUser.email == email)


async def test_a_repeat_gets_the_first_answer_whatever_has_changed(desk: Desk) -> None:
    """AIP-155."""
    email, request_id = new_email(), str(uuid4())
    first, replayed = await _answer(desk.CreateUser(_request(email, request_id)))
    assert not replayed
    await desk.update(first.name, display_name="Another", email=new_email())
    second, replayed = await _answer(desk.CreateUser(_request(email, request_id.upper())))
    assert replayed
    assert second == first
    assert [event["outcome"] for event in await audited(desk.running, first.name)] == ["OK"] * 3


async def test_another_request_under_the_same_id_is_told(desk: Desk, movable: MovableClock) -> None:
    """AIP-155: an id stands for one request alone."""
    request_id = str(uuid4())
    await desk.CreateUser(_request(email := new_email(), request_id))
    movable.advance(minutes=1)
    for other in (
        _request(new_email(), request_id),
        _request(email, request_id, display_name="X"),
        _request(email, request_id, user_id="somebody"),
    ):
        told = await refused(desk.CreateUser(other))
        check_row(told, "REQUEST_ID_REUSED")
        assert told.metadata["request_id"] == request_id
        assert told.metadata["method"] == "/interview.auth.v1.UserService/CreateUser"
        assert told.metadata["first_seen_time"].startswith(f"{movable():%Y-%m-%d}")


async def test_a_request_id_counts_for_its_caller_alone(desk: Desk) -> None:
    """ASVS 8.2.2: nobody reads another caller's answers."""
    request_id = str(uuid4())
    first = await desk.CreateUser(_request(new_email(), request_id, roles=["roles/admin"]))
    other = await desk.sign_in(first)
    second, replayed = await _answer(other.CreateUser(_request(new_email(), request_id)))
    assert not replayed
    assert second.name != first.name


async def test_after_a_day_a_request_id_is_new(desk: Desk, movable: MovableClock) -> None:
    """AIP-155: an answer is kept for a day."""
    request = _request(new_email(), str(uuid4()))
    first = await desk.CreateUser(request)
    movable.advance(hours=23, minutes=59)
    late = await Desk.open(desk.running)
    assert await _answer(late.CreateUser(request)) == (first, True)
    movable.advance(minutes=1)
    later = await Desk.open(desk.running)
    assert (await refused(later.CreateUser(request))).reason == "RESOURCE_EXISTS"
    request.user.email = new_email()
    second, replayed = await _answer(later.CreateUser(request))
    assert (replayed, second.email) == (False, request.user.email)
    assert await _answer(later.CreateUser(request)) == (second, True)


async def test_what_failed_is_not_kept(desk: Desk) -> None:
    """AIP-155: after a failure the same id may be tried again."""
    request_id, email = str(uuid4()), new_email()
    weak = pb.CreateUserRequest(
        user=resources.User(email=email), request_id=request_id, initial_password="weak"
    )
    assert (await refused(desk.CreateUser(weak))).reason == "PASSWORD_POLICY"
    checked = _request(email, request_id, validate_only=True)
    assert not (await _answer(desk.CreateUser(checked)))[1]
    assert not (await _answer(desk.CreateUser(_request(email, request_id))))[1]
    assert (await _answer(desk.CreateUser(_request(email, request_id))))[1]


async def test_neither_password_nor_a_hash_of_it_that_could_be_guessed_is_kept(
    desk: Desk,
) -> None:
    """ASVS 11.4.1, 14.2.4: what is compared is keyed by the server's secret."""
    request = _request(new_email(), str(uuid4()))
    await desk.CreateUser(request)
    row = await desk.running.app.database.read.first(
        select(IdempotentCall.request_hash, IdempotentCall.answer).order_by(
            IdempotentCall.create_time.desc()
        )
    )
    assert row is not None
    assert len(row.request_hash) == 32
    assert PASSWORD.encode() not in row.answer


async def test_of_many_at_once_one_creates_and_all_get_its_answer(roomy: Desk) -> None:
    """AIP-155; ASVS 15.4.2: one is done, however many come at once."""
    for _ in range(amount(2, 50)):
        request = _request(email := new_email(), str(uuid4()))
        asks = [partial(roomy.CreateUser, request)] * CALLERS
        answers = [await _answer(call) for call in await asyncio.gather(*map(settled, asks))]
        assert len({answer.SerializeToString() for answer, _ in answers}) == 1
        assert [replayed for _, replayed in answers].count(False) == 1
        assert await count(roomy.running, _users(email)) == 1
        events = await audited(roomy.running, answers[0][0].name)
        assert [event["outcome"] for event in events].count("OK") == CALLERS


async def test_of_many_at_once_without_an_id_one_creates(roomy: Desk) -> None:
    """ASVS 15.4.2: that an address is free is checked as the user is stored."""
    for _ in range(amount(2, 50)):
        email = new_email()
        request = pb.CreateUserRequest(user=resources.User(email=email))
        created, refusals = await race([partial(roomy.CreateUser, request)] * CALLERS)
        assert len(created) == 1
        assert [told.reason for told in refusals] == ["RESOURCE_EXISTS"] * (CALLERS - 1)
        assert await count(roomy.running, _users(email)) == 1
