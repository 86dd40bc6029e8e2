"""The credentials file: who is signed in where. POSIX only, for its locks.

One file holds the login sessions of all servers, each under its target, so that no server is
ever sent another's tokens.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from interview_client.auth import Tokens
from interview_client.tls import Tls

from .failures import NOT_SIGNED_IN, Failure

LOCK_SECONDS = 30.0
"""Longest wait for another terminal, well above the deadline of the call that it makes."""
_LOCK_PAUSE = 0.02
_TLS_FILES = ("ca", "certificate", "key")


class CredentialsBroken(Failure):
    """The file does not hold what this program writes."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the credentials file {path} is broken; run: interview login", NOT_SIGNED_IN
        )


@dataclass(frozen=True, slots=True)
class Login:
    """A login session at one server, which is spoken to in the clear without `tls`."""

    email: str
    tokens: Tokens
    tls: Tls | None = None

    def to_values(self) -> dict[str, object]:
        """Return what the file holds of it."""
        values: dict[str, object] = {
            "email": self.email,
            "tokens": json.loads(self.tokens.to_json()),
        }
        if self.tls is not None:
            values["tls"] = {
                name: str(path)
                for name in _TLS_FILES
                if (path := getattr(self.tls, name)) is not None
            }
        return values

    @classmethod
    def from_values(cls, values: dict[str, object]) -> "Login":
        """Return what `to_values` returned."""
        return cls(str(values["email"]), _tokens(values["tokens"]), _tls(values.get("tls")))


@dataclass(frozen=True, slots=True)
class Credentials:
    """Login sessions by target. `current` is the target of the last sign-in, "" before it."""

    current: str = ""
    logins: Mapping[str, Login] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the file's text."""
        logins = {target: login.to_values() for target, login in self.logins.items()}
        return json.dumps({"current": self.current, "logins": logins}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Credentials":
        """Return what `to_json` wrote. Raises ValueError for anything else."""
        try:
            values = json.loads(text)
            logins = {
                str(target): Login.from_values(login) for target, login in values["logins"].items()
            }
            return cls(str(values["current"]), logins)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("the text does not hold credentials") from error


class CredentialsFile:
    """Reads and replaces the file; nobody ever sees a half-written one."""

    def __init__(self, path: Path) -> None:
        # A link to the file, as dotfile tools make them, stays a link.
        self.path = path.expanduser().resolve()

    def read(self) -> Credentials:
        """Return what the file holds, nothing if there is none. Raises Failure."""
        try:
            return Credentials.from_json(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return Credentials()
        except OSError as error:
            raise Failure(f"cannot read {self.path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise CredentialsBroken(self.path) from error

    def write(self, credentials: Credentials) -> None:
        """Replace the file; only its owner can read it. Raises Failure."""
        draft = self.path.with_name(f"{self.path.name}.{uuid4().hex}")
        try:
            self._make_folder()
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(credentials.to_json())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise Failure(f"cannot write {self.path}: {error.strerror}") from error

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold off every other terminal that wants to change the file. Raises Failure."""
        descriptor = self._open_lock()
        try:
            await self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    async def _lock(self, descriptor: int) -> None:
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                # Waiting inside flock would have to be done in a thread, which would take the
                # lock even when nobody waits for it any more.
                while not _locked(descriptor):  # noqa: ASYNC110  # other processes set no event
                    await asyncio.sleep(_LOCK_PAUSE)
        except TimeoutError as error:
            raise Failure(f"another terminal holds {self.path}; try again") from error

    def _open_lock(self) -> int:
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            self._make_folder()
            return os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Failure(f"cannot write {lock}: {error.strerror}") from error

    def _make_folder(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


class SavedTokens:
    """The token store of one target: what `interview` signed in with, shared by terminals.

    `tls` is how the server is spoken to. With `email` it is a new login, which need not be able
    to read the old file and becomes the current one.
    """

    def __init__(
        self, file: CredentialsFile, target: str, tls: Tls | None, email: str = ""
    ) -> None:
        self._file = file
        self._target = target
        self._email = email
        self._tls = tls

    async def load(self) -> Tokens | None:
        """Return the tokens, None if nobody is signed in. Raises Failure."""
        if self._email:
            return None
        login = (await asyncio.to_thread(self._file.read)).logins.get(self._target)
        return None if login is None else login.tokens

    async def save(self, tokens: Tokens | None) -> None:
        """Write the tokens into the file, beside those of other targets. Raises Failure."""
        await asyncio.to_thread(self._save, tokens)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold off other terminals; `save` is called inside."""
        async with self._file.exclusive():
            yield

    def _save(self, tokens: Tokens | None) -> None:
        try:
            before = self._file.read()
        except CredentialsBroken:
            if not self._email:
                raise
            before = Credentials()
        logins = dict(before.logins)
        login = logins.pop(self._target, None)
        if tokens is not None:
            if self._email or login is None:
                login = Login(self._email, tokens, self._tls)
            logins[self._target] = replace(login, tokens=tokens)
        after = replace(before, logins=logins)
        self._file.write(replace(after, current=self._target) if self._email else after)


def _tokens(values: object) -> Tokens:
    tokens = Tokens.from_json(json.dumps(values))
    for moment in (tokens.access_expire_time, tokens.refresh_time):
        if moment.tzinfo is None:
            raise ValueError("a time without its zone")
    for token in (tokens.access_token, tokens.refresh_token):
        # gRPC's metadata takes nothing else.
        if not (token.isascii() and token.isprintable()):
            raise ValueError("a token with strange characters")
    return tokens


def _tls(values: object) -> Tls | None:
    if values is None:
        return None
    if not isinstance(values, dict):
        raise TypeError("files of TLS without their names")
    return Tls(**{name: Path(values[name]) for name in _TLS_FILES if name in values})


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
