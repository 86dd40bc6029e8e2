"""Logs: JSON lines on stderr, or coloured text where stderr is a terminal.

Nothing is rendered that its level filters out, secrets are masked by field name (those that
carry `debug_redact` in the contracts) and by shape, and the logs of libraries take the same
way out.
"""

import logging
import re
import sys
import traceback
from collections.abc import Iterable, MutableMapping
from typing import Any, BinaryIO, TextIO

import orjson
import structlog
from structlog.typing import FilteringBoundLogger, Processor

MASK = "[redacted]"
_SECRET_SHAPES = re.compile(
    r"(?<=://)[^/\s:@]*:[^/\s@]*(?=@)"  # user:password in a URL
    r"|(?i:(?<=bearer )\S+)"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JWT
    r"|\brt_[\w-]{16,}"
    r"|\bsk-[\w-]{8,}"
)
_SIGNS = ("://", "bearer ", "eyj", "rt_", "sk-")
"""One of these is in every text of such a shape, in lower case: finding none is far cheaper."""
_QUIET_LIBRARIES = (
    "alembic",
    "semantic_kernel",
    "in_process_runtime",
    "openai",
    "httpx2",
    "httpcore2",
)


def configure(level: str, *, json: bool, stream: TextIO, secret_fields: Iterable[str]) -> None:
    """Set up structlog and the standard library's logging for this process."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Redactor(secret_fields),
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


def logger(name: str) -> FilteringBoundLogger:
    """Return a logger whose lines carry the name."""
    bound: FilteringBoundLogger = structlog.get_logger().bind(logger=name)
    return bound


def _output(stream: TextIO, *, json: bool) -> tuple[list[Processor], Any]:
    if json:
        binary: BinaryIO = stream.buffer
        return [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ], structlog.BytesLoggerFactory(file=binary)
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty())], structlog.PrintLoggerFactory(
        file=stream
    )


def _dumps(value: Any, **options: Any) -> bytes:
    return orjson.dumps(value, default=options.get("default"))


class _Redactor:
    """Masks secrets, also inside a traceback's text."""

    def __init__(self, secret_fields: Iterable[str]) -> None:
        self._secret = frozenset(secret_fields)

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        error = event.pop("exc_info", None)
        if isinstance(error, BaseException):
            event["exception"] = "".join(traceback.format_exception(error))
        for key, value in event.items():
            if key in self._secret:
                event[key] = MASK
            elif isinstance(value, str):
                event[key] = _without_secrets(value)
        return event


def _without_secrets(text: str) -> str:
    folded = text.lower()
    for sign in _SIGNS:
        if sign in folded:
            return _SECRET_SHAPES.sub(MASK, text)
    return text


class _Forward(logging.Handler):
    """Hands the standard library's records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record."""
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=error
        )


def to_terminal() -> bool:
    """Tell whether a person reads the logs as they come."""
    return sys.stderr.isatty()
