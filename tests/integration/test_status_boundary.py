"""Rows that no method of ours comes to by itself, and: whatever is raised, never UNKNOWN."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from typing import Any, NoReturn

import grpc
import pytest
from sqlalchemy.exc import DBAPIError

from server.core.errors import (
    DomainError,
    FieldViolation,
    PreconditionViolation,
    QuotaViolation,
    ResourceRef,
    WrongState,
)
from server.rpc.call import Call
from server.rpc.methods import Method
from tests.support.small_service import Small, small_service
from tests.support.statuses import check_call, refused, row

SECRET = "postgresql://admin:hunter2@db.internal/films"
SECOND = timedelta(seconds=1)
QUOTA = QuotaViolation("user:users/7", "5 streams of Chat at a time")


@pytest.fixture
async def small() -> AsyncIterator[Small]:
    """The service, which the test tells what to do."""
    async with small_service() as running:
        yield running


def _raising(error: BaseException) -> Callable[[], NoReturn]:
    def act() -> NoReturn:
        raise error

    return act


def _streams() -> DomainError:
    return DomainError("too many", reason="TOO_MANY_STREAMS", quota=QUOTA, retry_delay=SECOND)


def _password() -> DomainError:
    bad = FieldViolation("password", "must not be blank")
    return DomainError("blank", reason="PASSWORD_POLICY", violations=[bad])


def _no_place() -> None:
    with closing(sqlite3.connect(":memory:")) as full:
        full.execute("PRAGMA max_page_count = 1")
        try:
            full.execute("CREATE TABLE a (b)")
            full.execute("CREATE TABLE c (d)")
        except sqlite3.OperationalError as error:
            raise DBAPIError("INSERT", {}, error) from error


def _no_file() -> None:
    try:
        sqlite3.connect("/nowhere/at/all.db")
    except sqlite3.OperationalError as error:
        raise DBAPIError(None, None, error) from error


ROWS = [
    row("PASSWORD_POLICY", "passwords have tests of their own", _raising(_password())),
    row("TOO_MANY_STREAMS", "limits have tests of their own", _raising(_streams())),
    row(
        "SLOW_CONSUMER",
        "takes 20 seconds to come to",
        _raising(DomainError("slow", reason="SLOW_CONSUMER", retry_delay=SECOND)),
    ),
    row("WRONG_STATE", "with what is wrong", _raising(WrongState("no", "a/1", "ENDED", ["IDLE"]))),
    row("DEPENDENCY_UNAVAILABLE", "a disk that is full", _no_place),
    row("DEPENDENCY_UNAVAILABLE", "a file that cannot be opened", _no_file),
    row("DEPENDENCY_UNAVAILABLE", "a bare socket's error", _raising(ConnectionResetError(SECRET))),
    row("DEADLINE_EXCEEDED", "a bare time-out", _raising(TimeoutError(SECRET))),
    row("INTERNAL", "a bug", _raising(RuntimeError(SECRET))),
    row("INTERNAL", "a cancellation of our own", _raising(asyncio.CancelledError(SECRET))),
    row("INTERNAL", "the end of an iterator", _raising(StopAsyncIteration(SECRET))),
    row("INTERNAL", "several at once", _raising(ExceptionGroup(SECRET, [ValueError(SECRET)]))),
    row("INTERNAL", "gRPC's own class", _raising(grpc.RpcError(SECRET))),
    row("INTERNAL", "what gRPC raises to abort", _raising(grpc.aio.AbortError(SECRET))),
    row("INTERNAL", "text that is no Unicode", _raising(KeyError("\ud800" + SECRET))),
    row("INTERNAL", "an unknown reason", _raising(DomainError(SECRET, reason="NO_SUCH_REASON"))),
]


@pytest.mark.parametrize(("reason", "act"), ROWS)
async def test_row(small: Small, reason: str, act: Callable[[], Any]) -> None:
    small.service.act = act
    told = await check_call(small, small.check(), reason)
    assert "hunter2" not in f"{told.message}{told.by_kind}"


@pytest.mark.parametrize(("reason", "act"), ROWS)
async def test_row_of_a_stream(small: Small, reason: str, act: Callable[[], Any]) -> None:
    small.service.act = act
    stream = small.watch()
    assert await stream.read()
    told = await check_call(small, stream.read(), reason)
    assert "hunter2" not in f"{told.message}{told.by_kind}"


async def test_an_answer_that_is_none_is_internal(small: Small) -> None:
    small.service.act = lambda: "an answer of another type"
    await check_call(small, small.check(), "INTERNAL")


class _Breaks:
    """A step that fails where it must not."""

    def __init__(self, where: str) -> None:
        self._where = where

    def enter(self, call: Call, method: Method) -> None:
        """Fail on the way in."""
        if self._where == "enter":
            raise RuntimeError(SECRET)

    def leave(self, call: Call, method: Method) -> None:
        """Fail on the way out."""
        if self._where == "leave":
            raise RuntimeError(SECRET)


async def test_a_step_that_fails_on_the_way_in_is_internal() -> None:
    async with small_service(_Breaks("enter")) as small:
        await check_call(small, small.check(), "INTERNAL")


async def test_a_step_that_fails_on_the_way_out_changes_nothing() -> None:
    async with small_service(_Breaks("leave")) as small:
        assert await small.check()
        small.service.act = _raising(WrongState("no", "a/1", "ENDED", ["IDLE"]))
        await check_call(small, small.check(), "WRONG_STATE")
        failures = [line for line in small.lines if line.kwargs["event"] == "step failed"]
        assert len(failures) == 2


async def test_texts_that_are_no_unicode_are_told_without_what_is_wrong(small: Small) -> None:
    name = "films/\ud800\x1b[31m\r\n\u202ex"
    small.service.act = _raising(
        DomainError(
            f"{name} is odd",
            reason="RESOURCE_NOT_FOUND",
            metadata={"resource_name": name},
            resource=ResourceRef("interview-api/Film", name),
        )
    )
    told = await check_call(small, small.check(), "RESOURCE_NOT_FOUND")
    assert told.metadata["resource_name"] == told.by_kind["ResourceInfo"].resource_name


async def test_everything_at_once_still_fits(small: Small) -> None:
    long = "ß" * 100_000
    small.service.act = _raising(
        DomainError(
            long,
            reason="WRONG_STATE",
            metadata=dict.fromkeys(("resource_name", "state", "allowed_states"), long),
            preconditions=[PreconditionViolation("STATE", long, long)] * 1000,
            quota=QuotaViolation(long, long),
            resource=ResourceRef("interview-api/Film", long),
            retry_delay=SECOND,
        )
    )
    told = await refused(small.check())
    assert told.reason == "WRONG_STATE"
    assert told.by_kind["RetryInfo"].retry_delay.seconds == 1
