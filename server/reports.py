"""What passes between a worker and its supervisor.

Reports go up through the worker's stdout, an object of JSON per line. Nothing goes down but the
end of its stdin, which the kernel brings however the supervisor went.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

LAST_RESORT_SECONDS = 30.0
"""A worker without a supervisor that has not ended by then is ended in the midst of things."""


class Reports:
    """Tells the supervisor how far this worker is."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def catalogue_ready(self, port: int) -> None:
        """The port answers for sign-in and catalogue."""
        self._write(listening=port)

    def agents_ready(self, model: str) -> None:
        """The agents answer too, by this model."""
        self._write(model=model)

    def failed(self, reason: str) -> None:
        """This worker cannot start, and another one could not either."""
        self._write(failed=reason)

    def _write(self, **report: object) -> None:
        try:
            self._out.write(json.dumps(report) + "\n")
            self._out.flush()
        except BrokenPipeError:  # nobody is there to be told; stdin has ended as well
            pass


def parsed(line: bytes) -> dict[str, Any]:
    """Return a report; empty for a line that is none."""
    try:
        report = json.loads(line)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def when_parent_is_gone(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    """Call `act` in the loop once stdin has ended; then give the process a while to end.

    In a thread, so that also a loop that something blocks cannot outlive its supervisor.
    """
    threading.Thread(target=_wait, args=(loop, act), name="supervisor-watch", daemon=True).start()


def _wait(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    try:
        loop.call_soon_threadsafe(act)
    except RuntimeError:  # the loop has ended by itself
        return
    time.sleep(LAST_RESORT_SECONDS)
    os._exit(1)
