"""What the command line does with signing keys: `interview-server keys ...`.

Every function prints to `out`, returns the process's exit code and raises KeyFileInvalid.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from server.auth.key_files import read_ring, replacing, write_new
from server.auth.key_ring import KeyRing, new_ring
from server.auth.keys import new_signing_key
from server.core.clock import Clock, rfc3339


def generate(file: Path, algorithm: str, *, clock: Clock, out: TextIO) -> int:
    """Write a new file with a key that signs and the next one."""
    now = clock().replace(microsecond=0)
    ring = new_ring(new_signing_key(algorithm), new_signing_key(algorithm), now)
    write_new(file, ring)
    out.write(_table(ring))
    return 0


def rotate(file: Path, algorithm: str | None, *, clock: Clock, out: TextIO) -> int:
    """Let the next key sign; make a new one for the time after, of the same kind unless told."""
    with replacing(file) as replace:
        ring = read_ring(file)
        rotated = ring.rotated(
            new_signing_key(algorithm or ring.coming.algorithm), clock().replace(microsecond=0)
        )
        replace(rotated)
    out.write(_table(rotated))
    return 0


def list_all(file: Path, *, out: TextIO) -> int:
    """Print a table of the keys."""
    out.write(_table(read_ring(file)))
    return 0


def _table(ring: KeyRing) -> str:
    rows: list[Sequence[str]] = [("KID", "ALGORITHM", "STATE", "CREATED", "SIGNED FROM", "RETIRED")]
    for one in ring.keys:
        times = (one.create_time, one.sign_time, one.retire_time)
        told = ["-" if moment is None else rfc3339(moment) for moment in times]
        rows.append((one.key.kid, one.key.algorithm, one.state, *told))
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)
