"""Logs: JSON lines on stderr, or coloured text where stderr is a terminal.

Nothing is rendered that its level filters out, secrets are masked by field name (those that
carry `debug_redact` in the contracts), by value and by shape, and what libraries log, and what
nobody caught, takes the same way out.
"""

import logging
import re
import sys
import threading
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from types import TracebackType
from typing import Any, BinaryIO, TextIO

import orjson
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from server.redaction import Redactor

_QUOTED = re.compile(r"[<({\[\"'`\n]")
"""Where a library's words end and what it quotes begins."""
_QUIET_LIBRARIES = (
    "alembic",
    "semantic_kernel",
    "in_process_runtime",
    "openai",
    "httpx2",
    "httpcore2",
)


def configure(
    level: str,
    *,
    json: bool,
    stream: TextIO,
    secret_fields: Iterable[str],
    secrets: Iterable[str] = (),
    fields: Mapping[str, object],
) -> None:
    """Set up structlog and the standard library's logging; every line carries the `fields`.

    `secret_fields` are names of values, and `secrets` values, that are masked.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _Constant(fields),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_exception,
        Redactor(secret_fields, secrets),
    ]
    renderers, factory = _output(stream, json=json)
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(capture=True)
    logging.basicConfig(level=max(number, logging.INFO), handlers=[_Forward()], force=True)
    for name in _QUIET_LIBRARIES:
        # They write whole messages of users at INFO.
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_tells_no_header)
    logging.getLogger("asyncio").addFilter(tells_of_trouble)
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _uncaught_in_thread


def logger(name: str) -> FilteringBoundLogger:
    """Return a logger whose lines carry the name."""
    bound: FilteringBoundLogger = structlog.get_logger().bind(logger=name)
    return bound


def _output(stream: TextIO, *, json: bool) -> tuple[list[Processor], Any]:
    if json:
        lines: Any = _Unfailing(stream.buffer)
        renderer = structlog.processors.JSONRenderer(serializer=_dumps)
        return [renderer], structlog.BytesLoggerFactory(file=lines)
    text: Any = _Unfailing(stream)
    console = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    return [console], structlog.PrintLoggerFactory(file=text)


class _Unfailing:
    """A stream that a full disk or a reader who left does not fail: a call must not, for a line."""

    def __init__(self, stream: TextIO | BinaryIO) -> None:
        self._stream: Any = stream

    def write(self, line: str | bytes) -> None:
        """Write a line, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.write(line)

    def flush(self) -> None:
        """Send what was written, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def _dumps(value: Any, **options: Any) -> bytes:
    return orjson.dumps(value, default=options.get("default"))


class _Constant:
    """Adds what is the same in every line of a process."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event.update(self._fields)
        return event


def _tells_no_header(record: logging.LogRecord) -> bool:
    """Keep out the line in which grpc repeats a header that is not UTF-8, a credential perhaps."""
    return not str(record.msg).startswith("Invalid encoding on")


def tells_of_trouble(record: logging.LogRecord) -> bool:
    """Keep out asyncio's line about a connection that a cancelled call was still opening.

    asyncpg leaves its future behind then; nobody waits for it any more.
    """
    error = record.exc_info[1] if record.exc_info else None
    abandoned = isinstance(error, ConnectionError) and "connection_lost() call" in str(error)
    return not (abandoned and record.getMessage().startswith("Future exception was never"))


class _Forward(logging.Handler):
    """Hands the standard library's records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record."""
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().log(
            record.levelno, _own_words(record), logger=record.name, exc_info=error
        )


def _own_words(record: logging.LogRecord) -> str:
    """Return what a library itself says: its template, or a text up to where it quotes.

    What it puts in may be a caller's: asyncio repeats an exception, its task and the arguments
    of a callback.
    """
    words = str(record.msg)
    if record.args and words != "%s":
        return words
    own = _QUOTED.split(record.getMessage(), maxsplit=1)[0].rstrip(" :=")
    return own or "(quotes something)"


def _with_exception(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Find the exception that is being handled, where a line asks for it."""
    if event.get("exc_info") is True:
        event["exc_info"] = sys.exc_info()[1]
    return event


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        structlog.get_logger().critical("nobody caught this", exc_info=error)


def _uncaught_in_thread(uncaught: threading.ExceptHookArgs) -> None:
    structlog.get_logger().error("nobody caught this in a thread", exc_info=uncaught.exc_value)


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    structlog.get_logger().error("raised where nobody can catch", exc_info=unraisable.exc_value)


def to_terminal() -> bool:
    """Tell whether a person reads the logs as they come."""
    return sys.stderr.isatty()
