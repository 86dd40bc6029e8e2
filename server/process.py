"""What every process of the server does alike: logs, loop, signals, saying what is wrong."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from pydantic import SecretStr

from server.core.importing import importing
from server.generated.interview.agent.v1 import chat_pb2
from server.generated.interview.auth.v1 import auth_service_pb2, user_service_pb2
from server.log import configure
from server.redaction import Redactor
from server.secret import password_pepper
from server.settings import Settings

_OF_LINES = frozenset({"request_id"})
"""Names that lines of the log use themselves, for something that is no secret."""


def set_up_logs(settings: Settings, *, worker: int | None = None) -> None:
    """Write logs to stderr as the settings say; those of a worker carry its number."""
    json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )
    secret = {
        name
        for file in (auth_service_pb2.DESCRIPTOR, user_service_pb2.DESCRIPTOR, chat_pb2.DESCRIPTOR)
        for name in _redacted_fields(file)
    }
    configure(
        settings.effective_log_level,
        json=json,
        stream=sys.stderr,
        secret_fields=secret,
        secrets=settings.secret_values,
        fields={} if worker is None else {"worker": worker},
    )


async def with_pepper(settings: Settings) -> Settings:
    """Return the settings with the pepper that is kept in the data folder where none is set."""
    configured = settings.password_pepper.get_secret_value()
    pepper = await asyncio.to_thread(password_pepper, configured, settings.data_dir)
    return settings.model_copy(update={"password_pepper": SecretStr(pepper.decode())})


def on_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Return the events of the first and of a second SIGTERM or SIGINT."""
    stopping, hurry = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurry if stopping.is_set() else stopping).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopping, hurry


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run to the end on the fastest loop that there is; return the exit code."""
    try:
        import uvloop  # noqa: PLC0415  # only Linux has it
    except ImportError:  # where it does not exist, asyncio's own loop does
        code = asyncio.run(main)
    else:
        code = uvloop.run(main)
    if importing():
        # Python's own end would take the interpreter from under the thread, and now and then
        # that aborts the process. Everything is closed already, so nothing else is lost.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def fail(message: str) -> int:
    """Say on stderr what is wrong, line by line; return the exit code."""
    redactor = Redactor(())
    for line in message.splitlines():
        sys.stderr.write(f"error: {redactor.text(line)}\n")
    return 1


def _redacted_fields(file: FileDescriptor) -> Iterator[str]:
    for message in file.message_types_by_name.values():
        for field in message.fields:
            if field.GetOptions().debug_redact and field.name not in _OF_LINES:
                yield field.name
