"""A model's server as a process of its own: each turn is answered by 1,000 tokens.

The first comes alone, as a model's first token does; the others follow as fast as they are
taken. It writes a JSON line with the monotonic time of every request that it begins to answer; that
clock is the same in all processes of one machine.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.support.fake_openai import Pause, Step, answer, running_fake_openai

TOKENS = 1000
WORDS = tuple(f" word{number}" for number in range(TOKENS))
TEXT = "".join(WORDS)
"""What every turn answers."""

_FIRST = 2
"""Steps up to the first token: the role alone comes before it."""
_STEPS = answer(*WORDS)
_REPLY = (*_STEPS[:_FIRST], Pause(0.1), *_STEPS[_FIRST:])


def _script(_request: dict[str, Any]) -> Sequence[Step]:
    _tell({"answered_at": time.monotonic()})
    return _REPLY


def _tell(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def serve() -> None:
    """Serve until the process is ended; the base URL is the first line on stdout."""
    async with running_fake_openai() as server:
        server.script_with(_script)
        _tell({"base_url": server.base_url})
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
