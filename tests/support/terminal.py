"""The program `interview`, run as a user runs it: with pipes, or at a terminal."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.server_process import Account

PROGRAM = Path(sys.executable).with_name("interview")
SECONDS = 20.0
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[=>])")
# Whoever started the tests in the background made them ignore Ctrl-C.
_HEAR_CTRL_C = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)
# Makes standard input the controlling terminal, from which Ctrl-C comes as a signal.
_TAKE_TERMINAL = f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {_HEAR_CTRL_C}"

CTRL_C = "\x03"
CTRL_D = "\x04"

Result = subprocess.CompletedProcess[str]


class Screen:
    """What a program shows on its terminal, and the keyboard before it."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.text = ""
        """Everything shown so far, without colours."""
        self._descriptor = descriptor
        self.raw = b""
        """Everything shown so far, as the program wrote it."""
        self._seen = 0

    def type(self, keys: str) -> None:
        """Press the keys."""
        os.write(self._descriptor, keys.encode())

    def expect(self, text: str, seconds: float = SECONDS) -> None:
        """Wait until the text is shown behind what was expected before."""
        end = time.monotonic() + seconds
        while (found := self.text.find(text, self._seen)) < 0:
            assert self._read(end - time.monotonic()), f"no {text!r} in: {self.text}"
        self._seen = found + len(text)

    def exit_code(self, seconds: float = SECONDS) -> int:
        """Wait for the program's end."""
        end = time.monotonic() + seconds
        while self._read(end - time.monotonic()):
            pass
        return self.process.wait(max(0.1, end - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        """Read what is shown next; False at the end of the program or of the time."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # Linux' way to say that nobody has the terminal open any more
            return False
        self.raw += data
        self.text = _ESCAPES.sub("", self.raw.decode(errors="replace")).replace("\r\n", "\n")
        return bool(data)


@dataclass(frozen=True)
class Terminal:
    """A user's account on a machine: its home folder, and the server that it talks to."""

    home: Path
    target: str

    @property
    def credentials(self) -> Path:
        """Where the program keeps them."""
        return self.home / ".config" / "interview" / "credentials.json"

    def run(self, *arguments: str, typed: str = "", **environment: str) -> Result:
        """Run the program to its end with standard input and output in pipes."""
        return subprocess.run(
            [PROGRAM, *arguments],
            input=typed,
            env=self.environment(environment),
            capture_output=True,
            text=True,
            # As in arguments: bytes that are no UTF-8 can be given and are passed on.
            errors="surrogateescape",
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the program beside the test, without input."""
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env=self.environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run the program beside the test with standard input and output in pipes."""
        process = subprocess.Popen(
            [sys.executable, "-c", _HEAR_CTRL_C, PROGRAM, *arguments],
            env=self.environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def sign_in(self, account: Account) -> Result:
        """Sign in."""
        done = self.run("login", account.email, "--password-stdin", typed=account.password + "\n")
        assert done.returncode == 0, done.stderr
        return done

    @contextmanager
    def screen(self, *arguments: str) -> Iterator[Screen]:
        """Run the program at a terminal of its own."""
        own, its = pty.openpty()
        termios.tcsetwinsize(its, (50, 120))
        process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, PROGRAM, *arguments],
            stdin=its,
            stdout=its,
            stderr=its,
            env=self.environment({}),
            start_new_session=True,
        )
        os.close(its)
        try:
            yield Screen(process, own)
        finally:
            process.kill()
            process.wait()
            os.close(own)

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """Return the program's environment, nothing of the developer's own settings in it."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("INTERVIEW_", "XDG_")) and name != "NO_COLOR"
        }
        own = {
            "HOME": str(self.home),
            "INTERVIEW_TARGET": self.target,
            "TERM": "xterm",
            "PYTHONUTF8": "1",
        }
        return {**kept, **own, **more}
