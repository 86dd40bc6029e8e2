"""The person at the keyboard: lines typed at the prompt, and while an answer comes."""

import os
import select
import sys
from collections import deque
from concurrent.futures import Future
from contextlib import suppress

from .output import Output, note

PROMPT = "> "


class Keyboard:
    """Reads lines from the terminal that is standard input."""

    def __init__(self, output: Output) -> None:
        with suppress(ImportError):
            import readline  # noqa: F401, PLC0415  # gives `input` its line editing, where it exists
        self._output = output
        self._waiting: deque[str] = deque()
        self._ended = False
        self._prompted = False
        self._done, self._wake = os.pipe()

    def interject(self, text: str) -> None:
        """Tell something from another thread, on a line of its own; the prompt comes again."""
        prompted = self._prompted and sys.stderr.isatty()
        if prompted:
            sys.stderr.write("\n")
        note(text)
        if prompted:
            sys.stderr.write(PROMPT)
            sys.stderr.flush()

    def line(self) -> str:
        """Return the next line. Raises EOFError (Ctrl-D), KeyboardInterrupt (Ctrl-C)."""
        if self._waiting:
            line = self._waiting.popleft()
            self._output.line(f"{PROMPT}{line}")
            return line
        if self._ended:
            raise EOFError
        self._prompted = True
        try:
            return self._prompt()
        finally:
            self._prompted = False

    def follow(self, work: Future[None]) -> None:
        """Let the end of this work end `line_during`."""
        work.add_done_callback(lambda _: os.write(self._wake, b"."))

    def line_during(self) -> str | None:
        """Return a line typed while work goes on, None when it may be done.

        Raises KeyboardInterrupt (Ctrl-C). Ctrl-D is kept for the next call of `line`.
        """
        watched = [self._done] if self._ended else [self._done, sys.stdin.fileno()]
        ready, _, _ = select.select(watched, [], [])
        if self._done in ready:
            os.read(self._done, 1)
            return None
        data = os.read(sys.stdin.fileno(), 65536)
        self._ended = not data
        return data.decode(errors="replace").strip()

    def _prompt(self) -> str:
        if sys.stdout.isatty():
            return input(PROMPT)
        sys.stderr.write(PROMPT)
        sys.stderr.flush()
        return input()

    def keep(self, line: str) -> None:
        """Return this line from `line` later."""
        self._waiting.append(line)
