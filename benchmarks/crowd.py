"""Callers that do not wait for one another: a process that takes commands as JSON lines.

Calls of an open load begin at their moments, Poisson-distributed, however slow the answers
are, as those of many independent users do; a call's time counts from the moment at which it
was due. Nothing is repeated. Every answer is parsed and compared.
"""

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2

from benchmarks.commands import Command, WrongAnswer, obey
from benchmarks.scenarios import READERS
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

CONNECTIONS = 8
PATIENT_SECONDS = 20.0
PROBE_SECONDS = 0.05
"""Between two questions for the server's health."""

_HEALTH = "/grpc.health.v1.Health/Check"


@dataclass(frozen=True, slots=True)
class Case:
    """What is called and how an answer is checked."""

    method: str
    requests: Sequence[bytes]
    expected: Sequence[Sequence[str]]
    read: Callable[[bytes], list[str]]

    @classmethod
    def of(cls, command: Command) -> "Case":
        """Read a scenario from a command."""
        requests = [base64.b64decode(request) for request in command["requests"]]
        return cls(command["method"], requests, command["expected"], READERS[command["reader"]])

    def check(self, number: int, answer: bytes) -> None:
        """Raise WrongAnswer unless it is the right answer to the request of this number."""
        if self.read(answer) != self.expected[number % len(self.requests)]:
            raise WrongAnswer(f"{self.method} answered {self.read(answer)}")


class Crowd:
    """Holds connections to each server and a caller's token."""

    def __init__(self) -> None:
        self._channels: dict[str, list[grpc.aio.Channel]] = {}
        self._metadata: dict[str, tuple[tuple[str, str], ...]] = {}
        self.commands: dict[str, Callable[[Command], Awaitable[dict[str, Any]]]] = {
            "login": self._login,
            "fill": self._fill,
            "offer": self._offer,
        }

    async def _login(self, command: Command) -> dict[str, Any]:
        """Open the connections and sign in."""
        target = command["target"]
        # Channels of a process share their connection unless told otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        # One more than for calls: who asks for the health has a connection of its own.
        channels = [grpc.aio.insecure_channel(target, options) for _ in range(CONNECTIONS + 1)]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        request = auth_service_pb2.LoginRequest(
            email=command["email"], password=command["password"]
        )
        stub = auth_service_pb2_grpc.AuthServiceStub(channels[0])
        answer = await stub.Login(request, timeout=PATIENT_SECONDS)
        self._channels[target] = channels
        self._metadata[target] = (("authorization", f"Bearer {answer.tokens.access_token}"),)
        return {}

    async def _fill(self, command: Command) -> dict[str, Any]:
        """Keep so many calls at work for some seconds; return how many were answered."""
        case, loop, answers = Case.of(command), asyncio.get_running_loop(), 0
        begun = loop.time()

        async def caller(number: int) -> None:
            nonlocal answers
            while loop.time() < begun + command["seconds"]:
                case.check(number, await self._call(command, case, number, PATIENT_SECONDS))
                answers += 1

        await asyncio.gather(*(caller(number) for number in range(command["callers"])))
        return {"answers": answers, "seconds": loop.time() - begun}

    async def _offer(self, command: Command) -> dict[str, Any]:
        """Begin calls at a rate for some seconds; return each one's seconds and status."""
        case, loop = Case.of(command), asyncio.get_running_loop()
        chance = random.Random(command["seed"])
        ends: list[tuple[float, str]] = []
        due = begun = loop.time()

        async def caller(number: int, due: float) -> None:
            try:
                left = max(0.001, due + command["deadline"] - loop.time())
                case.check(number, await self._call(command, case, number, left))
                code = "OK"
            except grpc.aio.AioRpcError as error:
                code = error.code().name
            ends.append((loop.time() - due, code))

        callers: list[asyncio.Task[None]] = []
        probing = asyncio.create_task(self._probe(command["target"], command["seconds"]))
        while (due := due + chance.expovariate(command["rate"])) < begun + command["seconds"]:
            await asyncio.sleep(max(0.0, due - loop.time()))
            callers.append(asyncio.create_task(caller(len(callers), due)))
        await asyncio.gather(*callers)
        return {"ends": ends, "health": await probing}

    async def _probe(self, target: str, seconds: float) -> list[float]:
        """Ask for the health all the time; return the seconds of each answer."""
        loop, took = asyncio.get_running_loop(), []
        end = loop.time() + seconds
        check: Any = self._channels[target][CONNECTIONS].unary_unary(_HEALTH)
        request = health_pb2.HealthCheckRequest(service="liveness").SerializeToString()
        while (begun := loop.time()) < end:
            await check(request, timeout=PATIENT_SECONDS)
            took.append(loop.time() - begun)
            await asyncio.sleep(PROBE_SECONDS)
        return took

    def _call(self, command: Command, case: Case, number: int, seconds: float) -> Awaitable[bytes]:
        target = command["target"]
        call: Any = self._channels[target][number % CONNECTIONS].unary_unary(case.method)
        request = case.requests[number % len(case.requests)]
        answer: Awaitable[bytes] = call(request, metadata=self._metadata[target], timeout=seconds)
        return answer


if __name__ == "__main__":
    uvloop.run(obey(Crowd().commands))
