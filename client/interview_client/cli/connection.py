"""Which server, as whom: from options, environment and credentials file to a client."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path

from interview_client.client import InterviewClient
from interview_client.errors import InterviewError

from .credentials import CredentialsBroken, CredentialsFile, SavedTokens
from .failures import USAGE, Failure, explained, not_signed_in

DEFAULT_TARGET = "127.0.0.1:50051"
_TARGET = re.compile(r"\S+:\S+")


def default_config() -> Path:
    """Return where credentials are kept: the XDG Base Directory Specification's place."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification has relative paths ignored.
    base = Path(folder) if folder.startswith("/") else Path.home() / ".config"
    return base / "interview" / "credentials.json"


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

    @asynccontextmanager
    async def client(self) -> AsyncIterator[InterviewClient]:
        """Yield a client that is signed in; its errors come out as Failure."""
        target = self.target
        if target not in self.file.read().logins:
            raise not_signed_in(target)
        async with _client(target, SavedTokens(self.file, target)) as client:
            yield client

    @asynccontextmanager
    async def new_client(self, email: str) -> AsyncIterator[InterviewClient]:
        """Yield a client that will sign this user in; its errors come out as Failure."""
        try:
            target = self.target
        except CredentialsBroken:
            # Signing in mends the file.
            target = self.target = DEFAULT_TARGET
        async with _client(target, SavedTokens(self.file, target, email)) as client:
            yield client


@asynccontextmanager
async def _client(target: str, tokens: SavedTokens) -> AsyncIterator[InterviewClient]:
    try:
        async with InterviewClient(target, token_store=tokens) as client:
            yield client
    except InterviewError as error:
        raise explained(error, target) from error
