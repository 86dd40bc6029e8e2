"""What a line of the log can hold, in both formats: never a secret, never more than one line."""

import json
import subprocess
import sys
import time
from functools import cache

import pytest

from server.redaction import MASK, Redactor, described

SECRET_KEY = "planted key of thirty-two bytes!"
NASTY = 'planted\x1b[31m\x9b2J\r\n{"event":"forged"}\u2028\u202e\x00\ud800'
PROGRAM = """
import asyncio, gc, logging, sys, threading, warnings
import grpc, structlog
from server import log

SECRET_KEY, NASTY, FORMAT = sys.argv[1], eval(sys.argv[2]), sys.argv[3]
log.configure("DEBUG", json=FORMAT == "json", stream=sys.stderr, secret_fields=["password"],
              secrets=[SECRET_KEY], fields={"worker": 1})
ours = log.logger("test")
ours.info("nasty", value=NASTY, many=[NASTY, {"deep": NASTY, "password": NASTY}], **{"a key": 1})
ours.info("secret", password=NASTY, text=f"see {SECRET_KEY} there", error=ValueError(NASTY))
ours.info("url", url="postgresql://admin:planted@db:5432/x?y=planted@z", data=b"planted\\x1b")
ours.info(NASTY)
try:
    try:
        raise KeyError(NASTY)
    except KeyError as error:
        raise ConnectionRefusedError(111, NASTY, NASTY) from error
except OSError:
    ours.exception("caught")
    logging.getLogger("grpc._cython.cygrpc").exception("Unexpected [%s] raised", NASTY)
logging.getLogger("some.library").warning(f"could not send '{NASTY}'")
logging.getLogger("some.library").warning("could not send %s", NASTY)
warnings.warn_explicit(f"unclosed <socket {NASTY}>", ResourceWarning, "server/x.py", 7)
warnings.warn(NASTY)

async def leave_behind():
    loop = asyncio.get_running_loop()
    loop.create_future().set_exception(ValueError(NASTY))
    loop.call_soon(int, NASTY)
    async def forget():
        raise ValueError(NASTY)
    asyncio.ensure_future(forget())
    await asyncio.sleep(0.01)
    gc.collect()

asyncio.run(leave_behind())

class Ends:
    def __del__(self):
        raise ValueError(NASTY)
Ends()
thread = threading.Thread(target=int, args=(NASTY,))
thread.start()
thread.join()
raise RuntimeError(NASTY)
"""


@cache
def _output(form: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", PROGRAM, SECRET_KEY, ascii(NASTY), form],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == b""
    return done.stderr.decode("utf-8").split("\n")[:-1]


@pytest.mark.parametrize("form", ["json", "console"])
def test_nothing_moves_the_cursor_or_looks_like_a_line_of_its_own(form: str) -> None:
    lines = _output(form)
    assert len(lines) > 10
    assert [line for line in lines if not line.isprintable()] == []
    assert [line for line in lines if line.startswith('{"event":"forged"')] == []


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_and_no_words_of_an_exception(form: str) -> None:
    text = "\n".join(_output(form))
    assert SECRET_KEY not in text
    # Only where our own code hands a value over as a value, is it there, escaped.
    ours = ("nasty", "secret", "url", "planted\\\\x1b" if form == "json" else "planted\\x1b")
    leaks = [
        line for line in _output(form) if "planted" in line and not any(o in line for o in ours)
    ]
    assert leaks == []


def test_every_failure_is_told_with_its_class_and_place() -> None:
    lines = [json.loads(line) for line in _output("json")]
    told = {line["event"]: line for line in lines if "exception" in line}
    assert set(told) == {
        "caught",
        "Unexpected [%s] raised",
        "Exception in callback int",
        "Future exception was never retrieved",
        "Task exception was never retrieved",
        "raised where nobody can catch",
        "nobody caught this in a thread",
        "nobody caught this",
    }
    last = [line["exception"].splitlines()[-1] for line in told.values()]
    assert "ConnectionRefusedError [ECONNREFUSED]" in last
    assert set(last) == {"ConnectionRefusedError [ECONNREFUSED]", "ValueError", "RuntimeError"}
    first = told["caught"]["exception"].splitlines()
    assert "KeyError" in first
    assert any("line " in line for line in first)
    assert all(line["worker"] == 1 for line in lines)


def test_a_library_speaks_in_its_own_words_alone() -> None:
    events = {json.loads(line)["event"] for line in _output("json")}
    assert {"could not send", "could not send %s"} <= events
    assert "server/x.py:7: ResourceWarning: unclosed" in events
    assert "(quotes something)" in events


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://admin:hunter2@db.internal:5432/films",
        "https://admin:p@ss:w@rd@host/path",
        "Bearer abc.def",
        "bearer abc",
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2ln",
        "rt_0123456789abcdefghij",
        "ik_0123456789abcdefghij",
        "sk-proj-0123456789",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    told = Redactor(()).text(f"before {text} behind")
    assert MASK in told
    for part in ("hunter2", "p@ss", "w@rd", "abc", "eyJzdWIi", "0123456789"):
        assert part not in told
    assert told.startswith("before ")


def test_a_chain_of_causes_is_bounded() -> None:
    error: Exception = ValueError("planted")
    for _ in range(1000):
        outer = ValueError("planted")
        outer.__cause__ = error
        error = outer
    loop = ValueError("planted")
    loop.__context__ = error
    error.__context__ = loop
    text = described(ExceptionGroup("planted", [loop, error]))
    assert "planted" not in text
    assert len(text) < 5000


def test_long_values_cost_little() -> None:
    started = time.perf_counter()
    for text in ("://" * 100_000, "://" + "a:" * 100_000, "-eyJa" * 100_000, "\x1b" * 100_000):
        assert len(Redactor((), [SECRET_KEY]).text(f"bearer {text}")) < 20_000
    assert time.perf_counter() - started < 5


FULL_DISK = """
import os, sys
from server import log
log.configure("DEBUG", json=sys.argv[1] == "json", stream=open("/dev/full", "w"),
              secret_fields=[], fields={})
for number in range(10_000):
    log.logger("test").info("a line", number=number)
sys.stdout.write("done")
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_disk_that_is_full_fails_nobody(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, form], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("done", "")


def test_a_line_keeps_the_id_of_its_request() -> None:
    """A field of that name is a secret in one request; what lines call so is not."""
    script = (
        "import sys; from server.process import set_up_logs; from server.settings import Settings\n"
        "from server.log import logger\n"
        "set_up_logs(Settings(_env_file=None, log_format='json'))\n"
        "logger('access').info('call', request_id='af58a35b765f7cb1', password='hunter2')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    line = json.loads(done.stderr)
    assert line["request_id"] == "af58a35b765f7cb1"
    assert "hunter2" not in done.stderr
