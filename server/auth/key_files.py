"""The file of signing keys: written by the command line, followed by every process.

It is a JWK Set (RFC 7517, 5) with private parts; each key also has `state`, `create_time`,
`sign_time` and `retire_time`, the times in RFC 3339 and only where they apply.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from structlog.typing import FilteringBoundLogger

from server.auth.key_ring import KeyRing, KeyState, RingKey, checked_ring
from server.auth.keys import signing_key_from_jwk
from server.auth.strict_json import strict_object
from server.core.clock import rfc3339

SETTING: Final = "SIGNING_KEYS_FILE"
RELOAD_INTERVAL: Final = timedelta(seconds=1)
"""A few kilobytes are read each time: their content tells of every change, times do not."""

_MAX_BYTES: Final = 65_536
_TIMES: Final = ("create_time", "sign_time", "retire_time")


class KeyFileInvalid(Exception):
    """The file cannot be used. The text says what is wrong, never what it holds."""


def read_ring(file: Path) -> KeyRing:
    """Return the keys that a file holds. Blocks.

    Raises:
        KeyFileInvalid: it cannot be read, or holds something else.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _invalid(f"cannot be read: {error.strerror}") from None
    if len(text) > _MAX_BYTES:
        raise _invalid(f"must have at most {_MAX_BYTES} bytes")
    entries = _entries(text)
    try:
        return checked_ring([_numbered(number, one) for number, one in enumerate(entries, 1)])
    except ValueError as error:
        raise _invalid(str(error)) from None


def write_new(file: Path, ring: KeyRing) -> None:
    """Write a file that is not there yet, readable by its owner alone. Blocks.

    Raises:
        KeyFileInvalid: it is there, or cannot be written.
    """
    try:
        with open(file, "xb", opener=_private) as new:  # Path.open takes no opener
            _write(new.fileno(), ring)
    except FileExistsError:
        raise _invalid(
            f"{file} is there already and is not overwritten; see `keys rotate`"
        ) from None
    except OSError as error:
        raise _invalid(f"cannot be written: {error.strerror}") from None


@contextmanager
def replacing(file: Path) -> Iterator[Callable[[KeyRing], None]]:
    """Let one process at a time replace the file in one step, its owner kept. Blocks.

    Raises:
        KeyFileInvalid: another one is at it, or it cannot be written.
    """
    file = file.resolve()  # a link stays one
    beside = file.with_name(f"{file.name}.new")

    def replace(ring: KeyRing) -> None:
        with beside.open("wb") as new:
            _write(new.fileno(), ring)
        beside.replace(file)
        _sync_folder(file.parent)

    try:
        _claim(beside, like=file)
        try:
            yield replace
        finally:
            beside.unlink(missing_ok=True)
    except FileExistsError:
        raise _invalid(
            f"is being changed by another command; if none runs, remove {beside.name}"
        ) from None
    except FileNotFoundError:
        raise _invalid("is not there; `interview-server keys generate` makes it") from None
    except OSError as error:
        raise _invalid(f"cannot be written: {error.strerror}") from None


class FollowedKeys:
    """The keys of a file, in step with it."""

    def __init__(
        self, file: Path, take: Callable[[KeyRing], None], log: FilteringBoundLogger
    ) -> None:
        self._file = file
        self._take = take
        self._log = log
        self._ring = KeyRing()
        self._problem = ""
        self._problem_told = False

    async def load(self) -> None:
        """Read the file for the first time. Raises KeyFileInvalid."""
        self._ring = await asyncio.to_thread(read_ring, self._file)
        self._take(self._ring)

    async def watch(self) -> None:
        """Read the file again and again; runs until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_INTERVAL.total_seconds())
            await self.reload()

    async def reload(self) -> None:
        """Take what the file holds now; where it cannot be used, keep what there is."""
        try:
            found = await asyncio.to_thread(read_ring, self._file)
        except KeyFileInvalid as error:
            self._tell_problem(str(error))
            return
        self._problem = ""
        if found != self._ring:
            self._ring = found
            self._take(found)
            self._log.info("signing keys changed", **_facts(found))

    def _tell_problem(self, problem: str) -> None:
        """Say it once, when it is found for the second time: a copy may be half done."""
        if problem != self._problem:
            self._problem, self._problem_told = problem, False
        elif not self._problem_told:
            self._problem_told = True
            self._log.error(
                "signing keys cannot be read: those from before go on",
                problem=problem,
                **_facts(self._ring),
            )


def _facts(ring: KeyRing) -> Mapping[str, Any]:
    """Return the fields of a log line. Names of keys are public, as every token shows."""
    return {"current_key": ring.current.kid, "keys": len(ring.keys)}


def _entries(text: bytes) -> Sequence[Any]:
    try:
        content = strict_object(text)
    except (ValueError, RecursionError):
        content = {}
    if content.keys() != {"keys"} or not isinstance(content["keys"], list):
        raise _invalid("must be what `interview-server keys generate` writes")
    return content["keys"]


def _numbered(number: int, entry: object) -> RingKey:
    try:
        return _ring_key(dict(entry) if isinstance(entry, dict) else {})
    except (KeyError, TypeError):
        raise ValueError(f"key {number}: must have a state and a create_time") from None
    except ValueError as error:
        raise ValueError(f"key {number}: {error}") from None


def _ring_key(entry: dict[str, Any]) -> RingKey:
    state = entry.pop("state")
    if state not in set(KeyState):
        raise ValueError(f"state must be one of {', '.join(KeyState)}")
    times = {name: _moment(name, entry.pop(name)) for name in _TIMES if name in entry}
    return RingKey(signing_key_from_jwk(entry), KeyState(state), **times)


def _moment(name: str, text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a time of RFC 3339") from None
    if moment.tzinfo is None:
        raise ValueError(f"{name} must have a time zone")
    return moment


def _entry(one: RingKey) -> Mapping[str, str]:
    times = {name: getattr(one, name) for name in _TIMES}
    told = {name: rfc3339(moment) for name, moment in times.items() if moment is not None}
    return {**one.key.private_jwk, "state": one.state, **told}


def _write(descriptor: int, ring: KeyRing) -> None:
    """Write all of it, so that it is on the disk before anybody finds it."""
    text = json.dumps({"keys": [_entry(one) for one in ring.keys]}, indent=2)
    with os.fdopen(os.dup(descriptor), "w", encoding="ascii") as out:
        out.write(f"{text}\n")
        out.flush()
        os.fsync(out.fileno())


def _claim(beside: Path, *, like: Path) -> None:
    """Make the file that will take the other's place, of the same owner."""
    owner = like.stat()
    with open(beside, "xb", opener=_private) as new:  # Path.open takes no opener
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(new.fileno(), owner.st_uid, owner.st_gid)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _invalid(said: str) -> KeyFileInvalid:
    return KeyFileInvalid(f"{SETTING}: {said}")
