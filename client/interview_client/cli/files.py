"""Files that are there as a whole or not at all."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from .failures import Failure, ReaderGone

Write = Callable[[str], int]


@contextmanager
def written(file: str) -> Iterator[Write]:
    """Write a file that is there as a whole or not at all; "-" is standard output."""
    if file == "-":
        yield _to_pipe
        return
    path = Path(file)
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        try:
            with draft.open("x", encoding="utf-8") as stream:
                yield stream.write
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(path)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}") from error


def _to_pipe(text: str) -> int:
    try:
        count = sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGone from error
    return count
