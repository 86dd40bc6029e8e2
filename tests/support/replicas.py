"""Server programs that a test starts, stops and kills as often as it likes, each on its port."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from tests.support.server_process import (
    PROGRAM,
    READY_SECONDS,
    Account,
    account_of,
    environment_for,
    free_port,
    unmeasured,
)

AGENT = "interview.agent.v1.AgentService"
UNLIMITED = {
    **{f"{bucket}_RATE": "0" for bucket in ("READ", "WRITE", "LOGIN", "AGENT", "BULK")},
    # A sign-in that a killed server has left behind has failed.
    "LOGIN_FAILURES": "0",
    "LOGIN_FAILURES_PER_ADDRESS": "0",
}
"""For loads that come from few callers, as fast as they can."""

STOP_SECONDS = 60.0


class Replica:
    """One server on a port of its own, the same one after each start."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Write logs to `folder`, which exists; replicas share data by their settings."""
        self.port = free_port()
        self._folder = folder
        own = {"PORT": str(self.port), **UNLIMITED}
        self._environment = unmeasured(environment_for(folder, {**own, **settings}))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        """Where it listens while it runs."""
        return f"127.0.0.1:{self.port}"

    @property
    def banner(self) -> str:
        """What its starts with `demo` have told the person who typed them."""
        return self._text("banner")

    @property
    def calls(self) -> int:
        """How many calls it has logged in all its lives."""
        return self._text("log").count('"event":"call"')

    def account(self, role: str) -> Account:
        """Return the demo user that its first start with `demo` has told."""
        return account_of(self.banner, role)

    async def start(self, *, demo: bool = False) -> None:
        """Start it and wait until it is ready."""
        command = [str(PROGRAM), "serve", *(["--demo"] if demo else [])]
        with self._file("banner").open("ab") as banner, self._file("log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # it must outlive loops
                command, cwd=self._folder, env=self._environment, stdout=banner, stderr=log
            )
        await self.ready()

    async def ready(self) -> None:
        """Wait until all of it answers, the agents last."""
        assert self._process is not None
        async with asyncio.timeout(READY_SECONDS):
            while not await _serves(self.target):
                assert self._process.poll() is None, self._text("log")
                await asyncio.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end and return the exit code."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, STOP_SECONDS)

    async def stop(self) -> int:
        """Ask it to stop and return the exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """Kill it at once."""
        self.signal(signal.SIGKILL)
        await self.ended()

    def leave(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}-{self.port}"

    def _text(self, name: str) -> str:
        file = self._file(name)
        return file.read_text("utf-8") if file.exists() else ""


@asynccontextmanager
async def replicas(folder: Path, count: int, **settings: str) -> AsyncIterator[list[Replica]]:
    """Start servers on the same data; the first has the demo users."""
    made = [Replica(folder, **settings) for _ in range(count)]
    try:
        await made[0].start(demo=True)
        await asyncio.gather(*(replica.start() for replica in made[1:]))
        yield made
    finally:
        for replica in made:
            replica.leave()


async def _serves(target: str) -> bool:
    # A new channel each time: one that was refused would pause before it tries again.
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        check: Any = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(service=AGENT), timeout=2)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
