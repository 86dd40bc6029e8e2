"""What watches need of the log of changes, wherever it is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from server.catalogue.changes import Change


@dataclass(frozen=True, slots=True)
class Logged:
    """A change as it is kept, which takes less room than the change itself."""

    revision: int
    row: Any
    read: Callable[[Any], Change]

    @property
    def change(self) -> Change:
        """The change, read anew each time."""
        return self.read(self.row)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Changes whose revisions follow one another, and the latest revision meanwhile.

    `missing` says that the revision behind them is not in the log, though it was given out.
    """

    logged: Sequence[Logged]
    latest: int
    missing: bool


class LogSource(Protocol):
    """Reads the log of changes."""

    async def latest(self) -> int:
        """Return the revision of the catalogue."""
        ...

    async def after(self, revision: int, limit: int) -> Stretch:
        """Return the changes behind a revision, at most so many."""
        ...

    async def oldest(self) -> int:
        """Return the lowest revision behind which nothing is missing."""
        ...
