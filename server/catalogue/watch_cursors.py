"""Cursors of WatchCatalogue: a revision of the catalogue, and when that was the latest."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from server.rpc.cursors import Cursors

_PURPOSE: Final = "watch"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a watch goes on: behind this revision, which was reached at this time."""

    revision: int
    time: datetime


class WatchCursors:
    """Seals and opens the cursors of watches."""

    def __init__(self, cursors: Cursors) -> None:
        self._cursors = cursors

    def seal(self, place: Place) -> str:
        """Return what a client sends as start_cursor to go on behind this place."""
        content = {"revision": place.revision, "time": place.time.timestamp()}
        return self._cursors.seal(_PURPOSE, content)

    def open(self, text: str) -> Place:
        """Return the place of a cursor.

        Raises:
            DomainError: CURSOR_INVALID, it is no cursor of a watch.
        """
        content = self._cursors.open(_PURPOSE, text)
        return Place(content["revision"], datetime.fromtimestamp(content["time"], tz=UTC))
