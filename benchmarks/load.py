"""The load generator: a process that takes commands as JSON lines and answers each with one.

Requests come serialized and every answer is parsed and compared; the answers of the echo are
the same bytes and are checked the same way, so the client costs the same on both sides.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any
from uuid import uuid4

import grpc
import uvloop

from benchmarks.commands import Command, WrongAnswer, obey
from benchmarks.echo import ANSWER, STORE
from benchmarks.scenarios import READERS
from server.generated.interview.agent.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    chat_pb2,
)
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

CALL_SECONDS = 10.0


class Load:
    """Holds one channel to each server and a caller's token."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._metadata: dict[str, tuple[tuple[str, str], ...]] = {}
        self.commands: dict[str, Callable[[Command], Awaitable[dict[str, Any]]]] = {
            "login": self._login,
            "copy": self._copy,
            "calls": self._calls,
            "turns": self._turns,
        }

    def _channel(self, target: str) -> grpc.aio.Channel:
        if target not in self._channels:
            self._channels[target] = grpc.aio.insecure_channel(target)
        return self._channels[target]

    def _method(self, target: str, path: str) -> Callable[..., Awaitable[bytes]]:
        call: Callable[..., Awaitable[bytes]] = self._channel(target).unary_unary(path)
        return call

    async def _login(self, command: Command) -> dict[str, Any]:
        """Sign in; calls to the server and to its echo then carry the token."""
        stub = auth_service_pb2_grpc.AuthServiceStub(self._channel(command["target"]))
        request = auth_service_pb2.LoginRequest(
            email=command["email"], password=command["password"]
        )
        answer = await stub.Login(request, timeout=CALL_SECONDS)
        header = ("authorization", f"Bearer {answer.tokens.access_token}")
        for target in (command["target"], command["echo"]):
            self._metadata[target] = (header,)
        return {}

    async def _copy(self, command: Command) -> dict[str, Any]:
        """Teach the echo the server's answers; return their mean size."""
        ask = self._method(command["target"], command["method"])
        store = self._method(command["echo"], STORE)
        sizes = []
        for request in map(base64.b64decode, command["requests"]):
            metadata = self._metadata[command["target"]]
            answer = await ask(request, metadata=metadata, timeout=CALL_SECONDS)
            await store(len(request).to_bytes(4, "big") + request + answer, timeout=CALL_SECONDS)
            sizes.append(len(answer))
        return {"answer_bytes": round(sum(sizes) / len(sizes))}

    async def _calls(self, command: Command) -> dict[str, Any]:
        """Call for some seconds, always `concurrency` calls at a time."""
        target = command["target"]
        method = ANSWER if command["echo"] else command["method"]
        call = self._method(target, method)
        read = READERS[command["reader"]]
        requests = [base64.b64decode(request) for request in command["requests"]]
        cases = list(zip(requests, command["expected"], strict=True))
        metadata, numbers = self._metadata[target], count()
        durations: list[float] = []
        started = time.perf_counter()
        end = started + command["seconds"]

        async def caller() -> None:
            while (begun := time.perf_counter()) < end:
                request, expected = cases[next(numbers) % len(cases)]
                answer = await call(request, metadata=metadata, timeout=CALL_SECONDS)
                durations.append(time.perf_counter() - begun)
                if read(answer) != expected:
                    raise WrongAnswer(f"{method} answered {read(answer)}, not {expected}")

        await asyncio.gather(*(caller() for _ in range(command["concurrency"])))
        return {"seconds": time.perf_counter() - started, "durations": durations}

    async def _turns(self, command: Command) -> dict[str, Any]:
        """Run turns one after the other; return when each one's first token came."""
        target = command["target"]
        stub = agent_service_pb2_grpc.AgentServiceStub(self._channel(target))
        first_tokens = []
        for _ in range(command["turns"]):
            request = agent_service_pb2.RunTurnRequest(
                user_message=chat_pb2.UserMessageFrame(turn_id=str(uuid4()), text="Go on.")
            )
            text, first = "", 0.0
            async for event in stub.RunTurn(request, metadata=self._metadata[target]):
                if event.WhichOneof("event") == "text_delta":
                    first = first or time.monotonic()
                    text += event.text_delta.text
            if text != command["expected"]:
                raise WrongAnswer(
                    f"a turn answered {len(text)} characters that are not the model's"
                )
            first_tokens.append(first)
        return {"first_tokens": first_tokens}


if __name__ == "__main__":
    uvloop.run(obey(Load().commands))
