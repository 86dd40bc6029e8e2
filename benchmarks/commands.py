"""How the processes of a run are told what to do: a JSON line for each command and each answer."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc

Command = dict[str, Any]
Commands = Mapping[str, Callable[[Command], Awaitable[dict[str, Any]]]]


class WrongAnswer(Exception):
    """A server answered something else than it must."""


async def obey(commands: Commands) -> None:
    """Run each command of stdin; what it returns, or an `error`, goes to stdout."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            result = await commands[command.pop("do")](command)
        except (WrongAnswer, grpc.aio.AioRpcError) as error:
            result = {"error": str(error)}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
