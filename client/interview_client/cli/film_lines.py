"""Films in JSON lines, and in which line each of them stands."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from interview_client.film_import import ImportProgress
from interview_client.messages import Film

from .failures import Failure
from .film_options import film_of_json

CHUNK = 64 * 1024
"""Bytes read at a time, in a thread: the connection is looked after meanwhile."""


class BadLine(Failure):
    """A line that holds no film."""


class Source:
    """The films of a file, or with "-" of standard input. Empty lines are passed over."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._stream: BinaryIO = sys.stdin.buffer
        self._lines: list[int] = []
        self._starts = {1: 0}
        self.size: int | None = None
        """Bytes in the file; None: not known."""

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Have the file open for the block. Raises Failure."""
        if self._file == "-":
            yield
            return
        try:
            self._stream = Path(self._file).open("rb")  # noqa: SIM115  # closed below
        except OSError as error:
            raise Failure(f"cannot read {self._file}: {error.strerror}") from error
        with self._stream:
            self.size = os.fstat(self._stream.fileno()).st_size
            yield

    async def films(self, advance: Callable[[int], None]) -> AsyncGenerator[Film, None]:
        """Yield the films, and tell `advance` how many bytes they took. Raises BadLine."""
        number = 0
        while lines := await self._read():
            for line in lines:
                number += 1
                if line.strip():
                    self._lines.append(number)
                    yield _film(line, number)
            advance(sum(map(len, lines)))

    def sent(self, progress: ImportProgress) -> None:
        """Note where the batch behind this one begins."""
        self._starts[progress.batch_number + 1] = progress.film_count

    def line_of(self, batch_number: int, index: int) -> int:
        """Return the line of a film of a batch, 0 if it is not known."""
        place = self._starts.get(batch_number, len(self._lines)) + index
        return self._lines[place] if place < len(self._lines) else 0

    async def _read(self) -> list[bytes]:
        try:
            return await asyncio.to_thread(self._stream.readlines, CHUNK)
        except OSError as error:
            raise Failure(f"cannot read {self._file}: {error.strerror}") from error


def _film(line: bytes, number: int) -> Film:
    try:
        return film_of_json(line.decode())[0]
    except UnicodeDecodeError as error:
        raise BadLine(f"line {number}: not UTF-8") from error
    except ValueError as error:
        raise BadLine(f"line {number}: {error}") from error
