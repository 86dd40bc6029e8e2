"""Which server, as whom: from options, environment and credentials file to a client."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

import grpc

from interview_client.client import InterviewClient
from interview_client.errors import InterviewError, Unauthenticated
from interview_client.tls import Tls

from .credentials import CredentialsBroken, CredentialsFile, SavedTokens
from .failures import USAGE, Failure, explained, not_signed_in
from .output import note

API_KEY = "INTERVIEW_API_KEY"
"""Name of the environment variable with the API key of a script."""
DEFAULT_TARGET = "127.0.0.1:50051"
_TARGET = re.compile(r"\S+:\S+")


def default_config() -> Path:
    """Return where credentials are kept: the XDG Base Directory Specification's place."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification has relative paths ignored.
    base = Path(folder) if folder.startswith("/") else Path.home() / ".config"
    return base / "interview" / "credentials.json"


@dataclass(frozen=True, slots=True)
class TlsChoice:
    """What the options of a sign-in say about TLS; files mean it without being asked."""

    on: bool | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def after(self, before: Tls | None) -> Tls | None:
        """Return how to sign in: as before, where nothing is said. Raises Failure."""
        # Later commands run in other folders.
        files = [file and file.expanduser().absolute() for file in self._files()]
        if self.on is False and any(files):
            raise Failure("--no-tls leaves no use for --ca, --cert and --key", USAGE)
        if (self.certificate is None) != (self.key is None):
            raise Failure("--cert and --key go together", USAGE)
        if any(files):
            return Tls(*files)
        if self.on is None:
            return before
        return (before or Tls()) if self.on else None

    def _files(self) -> tuple[Path | None, ...]:
        return self.ca, self.certificate, self.key


class Connection:
    """Where a command goes to. Made of a command's options; empty ones take what is saved."""

    def __init__(self, target: str, config: Path | None) -> None:
        """Raises Failure when the target is not one."""
        if target and not _TARGET.fullmatch(target):
            raise Failure(f"the target must be HOST:PORT, not {target}", USAGE)
        self._asked = target
        self.file = CredentialsFile(config or default_config())

    @cached_property
    def target(self) -> str:
        """The server: as asked for, else that of the last sign-in. Raises Failure.

        It stays the same when somebody signs in elsewhere meanwhile.
        """
        return self._asked or self.file.read().current or DEFAULT_TARGET

    def explained(self, error: InterviewError) -> Failure:
        """Return a call that failed, made by a client of `client`, as a line."""
        if isinstance(error, Unauthenticated) and os.environ.get(API_KEY, ""):
            return _key_refused(error)
        return explained(error, self.target)

    @asynccontextmanager
    async def client(self, *, by_session: bool = False) -> AsyncIterator[InterviewClient]:
        """Yield a client that may call; its errors come out as Failure.

        An API key in the environment goes before the login session, unless it must be that.
        """
        target = self.target
        login = self.file.read().logins.get(target)
        api_key = os.environ.get(API_KEY, "")
        if api_key and not by_session:
            chosen = login.tls if login else _tls_of_environment()
            async with _client(target, chosen, api_key=api_key) as client:
                yield client
            return
        if login is None:
            raise not_signed_in(target)
        tokens = SavedTokens(self.file, target, login.tls)
        async with _client(target, login.tls, tokens) as client:
            yield client

    @asynccontextmanager
    async def new_client(self, email: str, tls: TlsChoice) -> AsyncIterator[InterviewClient]:
        """Yield a client that will sign this user in; its errors come out as Failure."""
        try:
            target, logins = self.target, self.file.read().logins
        except CredentialsBroken:
            # Signing in mends the file.
            target, logins = self._asked or DEFAULT_TARGET, {}
            self.target = target
        before = logins.get(target)
        chosen = tls.after(before.tls if before else None)
        async with _client(target, chosen, SavedTokens(self.file, target, chosen, email)) as client:
            yield client


@asynccontextmanager
async def _client(
    target: str, tls: Tls | None, tokens: SavedTokens | None = None, *, api_key: str | None = None
) -> AsyncIterator[InterviewClient]:
    if tls is None and not _within_this_machine(target):
        note(f"warning: passwords and tokens travel to {target} in the clear; see login --tls")
    credentials = await _credentials(tls)
    try:
        async with InterviewClient(
            target, tls=credentials, token_store=tokens, api_key=api_key
        ) as client:
            yield client
    except Unauthenticated as error:
        if api_key is None:
            raise explained(error, target) from error
        raise _key_refused(error) from error
    except InterviewError as error:
        raise explained(error, target) from error


def _key_refused(error: Unauthenticated) -> Failure:
    # What the server advises behind the semicolon is for those who sign in.
    why = error.message.partition(";")[0]
    return Failure(
        f"the API key in {API_KEY} is refused: {why} ({error.reason or error.code.name});"
        " put another one there, or unset it to call as who signed in"
    )


async def _credentials(tls: Tls | None) -> grpc.ChannelCredentials | bool:
    try:
        return False if tls is None else await tls.credentials()
    except OSError as error:
        raise Failure(f"cannot read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise Failure(str(error)) from error


def _tls_of_environment() -> Tls | None:
    """Return how a program without a login session speaks to the server."""
    ca = os.environ.get("INTERVIEW_CA", "")
    if ca:
        return Tls(Path(ca).expanduser().absolute())
    return Tls() if os.environ.get("INTERVIEW_TLS", "") == "1" else None


def _within_this_machine(target: str) -> bool:
    if target.startswith("unix:"):
        return True
    host = target.rpartition(":")[0].rpartition("/")[2].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
