"""What the log leaves out: lines of libraries about nothing that anybody can do."""

import json
import subprocess
import sys

_PROGRAM = """
import asyncio, gc, logging, sys
from server import log

async def leave_behind(error):
    asyncio.get_running_loop().create_future().set_exception(error)
    gc.collect()

log.configure("INFO", json=True, stream=sys.stderr, secret_fields=[], fields={})
asyncio.run(leave_behind(ConnectionError("unexpected connection_lost() call")))
asyncio.run(leave_behind(ConnectionError("something else")))
asyncio.run(leave_behind(RuntimeError("unexpected connection_lost() call")))
"""


def test_a_connection_that_a_cancelled_call_was_opening_is_no_news() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["exception"].strip().splitlines()[-1] for line in lines] == [
        "ConnectionError",
        "RuntimeError",
    ]
