"""grpc.aio's server, on which no call can end the taking of calls, or stay for ever.

grpc.aio takes all calls on in one loop, which decodes the path of those for methods that
nobody registered: a path that is not UTF-8, which anybody can send, would end that loop and so
the server (seen with 1.85.1). Here every method is registered, and each is taken on by loops
of its own; some more end the calls for all other paths and never look at the path.

An answer that its client does not take off the wire stays in memory for as long as the
connection. grpc.aio has no word to end such a call; letting go of all that holds it does.

This leans on private parts of grpc.aio; tests/integration/test_abuse_listener.py fails when one
of them is gone or does something else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server

TAKE_SECONDS = 30.0
"""A client that has not taken the whole answer and its status by then loses its call."""

TAKERS = 16
"""Loops that take on the calls for one path. Each takes one in some turns of the event loop; what
comes faster waits in the C core, where nobody sees it and nobody can refuse it."""

Answer = Callable[[object, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers the calls for a path: it reads by itself, and writes unless it returns."""

    answer: Answer
    answers_once: bool


class Listener(_server.Server):
    """A grpc.aio server with these routes by path, and one for all other paths."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        unknown: Route,
        options: Sequence[tuple[str, int]],
        *,
        take_seconds: float = TAKE_SECONDS,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = _Calls(self._loop, None, (), None, tuple(options), None)
        self._server.add_registered_method_handlers(dict.fromkeys(routes))
        self._server.routes = {None: unknown} | {
            path.encode(): route for path, route in routes.items()
        }
        self._server.take_seconds = take_seconds


class _Calls(cygrpc.AioServer):  # type: ignore[misc]  # private, hence without types
    routes: Mapping[bytes | None, Route]
    take_seconds: float

    def _make_request_call_future(self, path: bytes | None) -> "asyncio.Future[list[NoReturn]]":
        return asyncio.gather(*(self._take(path) for _ in range(TAKERS)))

    async def _take(self, path: bytes | None) -> NoReturn:
        """Take the calls for a path, None for all that have no route, until the server stops."""
        running: set[asyncio.Task[None]] = set()
        route, name = self.routes[path], (path or b"(unknown)").decode()
        while True:
            call = await (
                self._request_call() if path is None else self._request_registered_call(path)
            )
            task = asyncio.create_task(_hold(call, route, name, self.take_seconds))
            del call  # else the last one would be held until the next one comes
            running.add(task)
            task.add_done_callback(running.discard)


async def _hold(call: Any, route: Route, name: str, take_seconds: float) -> None:
    """Hold a call until it is over on both sides, or its time is."""
    loop, holding = asyncio.get_running_loop(), asyncio.current_task()
    assert holding is not None, "it is awaited by a task alone"

    async def answer(
        requests: object, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> bytes | None:
        try:
            return await route.answer(requests, context)
        finally:
            answering = asyncio.current_task()
            timer = loop.call_later(take_seconds, _cancel, answering, holding)
            holding.add_done_callback(lambda _: timer.cancel())

    handler: grpc.RpcMethodHandler[Any, Any]
    if route.answers_once:
        handler = grpc.stream_unary_rpc_method_handler(answer)
        answered = cygrpc._handle_stream_unary_rpc(handler, call, loop)  # noqa: SLF001  # see above
    else:
        handler = grpc.stream_stream_rpc_method_handler(answer)
        answered = cygrpc._handle_stream_stream_rpc(handler, call, loop)  # noqa: SLF001  # see above
    with suppress(asyncio.CancelledError):
        await cygrpc._schedule_rpc_coro(answered, call, loop, name)  # noqa: SLF001  # see above


def _cancel(*tasks: asyncio.Task[Any] | None) -> None:
    for task in tasks:
        if task is not None:
            task.cancel()
