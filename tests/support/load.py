"""Callers that go on calling, whatever happens, and a record of how each call ended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import grpc
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

PAUSE_SECONDS = 0.01
BUCKETS = ("read", "write", "login", "agent", "bulk")
UNTHROTTLED: dict[str, Any] = {
    **{f"{bucket}_rate": 0 for bucket in BUCKETS},
    "max_running_reads": 1_000,
    "max_running_writes": 1_000,
    "max_running_logins": 64,
}
"""Settings of a server that turns nobody away: what its callers meet is the database."""

Caller = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Ended:
    """One call: who made it, when it started and ended (monotonic seconds), and how."""

    caller: str
    started: float
    ended: float
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    """Empty too where the client's own clock ended the call."""
    bucket: str = ""
    """Which limit it met."""
    retry: bool = False
    """Whether the server said after what time to try again."""

    @property
    def ok(self) -> bool:
        """Whether it was answered."""
        return self.code is grpc.StatusCode.OK

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started


@dataclass
class Load:
    """The record, in the order of the ends."""

    calls: list[Ended] = field(default_factory=list)

    @property
    def errors(self) -> list[Ended]:
        """The calls that were not answered."""
        return [call for call in self.calls if not call.ok]

    def since(self, moment: float) -> list[Ended]:
        """The calls that started after that moment."""
        return [call for call in self.calls if call.started > moment]

    async def answered(self, *callers: str, since: float, seconds: float = 20) -> float:
        """Wait until each of the callers was answered; return the first answer's time."""
        async with asyncio.timeout(seconds):
            while True:
                answered = [call for call in self.calls if call.ok and call.ended > since]
                if set(callers) <= {call.caller for call in answered}:
                    return min(call.ended for call in answered)
                await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def load(callers: dict[str, Caller]) -> AsyncIterator[Load]:
    """Let every caller call again and again for as long as the block lasts."""
    record, stopped = Load(), asyncio.Event()

    async def repeat(name: str, call: Caller) -> None:
        while not stopped.is_set():
            started = monotonic()
            try:
                await call()
            except grpc.aio.AioRpcError as error:
                record.calls.append(_ended(name, started, error))
            else:
                record.calls.append(Ended(name, started, monotonic()))
            await asyncio.sleep(PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for name, call in callers.items():
            group.create_task(repeat(name, call))
        try:
            yield record
        finally:
            stopped.set()


def _ended(name: str, started: float, error: grpc.aio.AioRpcError) -> Ended:
    info, retry = error_details(error)
    bucket, retried = info.metadata["bucket"], retry is not None
    return Ended(name, started, monotonic(), error.code(), info.reason, bucket, retry=retried)


def error_details(
    error: grpc.aio.AioRpcError,
) -> tuple[details.ErrorInfo, details.RetryInfo | None]:
    """Return what the server said of an error; an empty ErrorInfo where it said nothing."""
    trailers: dict[str, Any] = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    info, retry = details.ErrorInfo(), details.RetryInfo()
    found = False
    for detail in status.details:
        detail.Unpack(info)
        found = detail.Unpack(retry) or found
    return info, retry if found else None
