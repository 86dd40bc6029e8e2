"""The log of changes: revisions in the order of commits, each with its row.

Whoever changes the catalogue claims its revisions first: that holds one row until the commit, so
that changes take effect one after the other. A revision that nobody commits is given again.
A load that is not logged, of a whole dump for instance, still claims one: who watches then finds a
revision that is missing, and knows that it has to begin anew.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, insert, select, text, update

from server.catalogue.change_records import to_json
from server.catalogue.changes import Author, Entry, changed_fields
from server.catalogue.models import CatalogueChange, CatalogueState
from server.core.clock import Clock
from server.database.engine import WriteSession
from server.database.names import named

CHANNEL: Final = "catalogue_change"
"""What PostgreSQL's NOTIFY names; it tells no more than that something changed."""

_CLAIM: Final = named(
    "catalogue_changes.claim",
    update(CatalogueState)
    .values(revision=CatalogueState.revision + bindparam("claimed", type_=BigInteger))
    .returning(CatalogueState.revision),
)
_ADD: Final = named("catalogue_changes.add", insert(CatalogueChange))
_NOTIFY: Final = named("catalogue_changes.notify", text(f"NOTIFY {CHANNEL}"))
REVISION: Final = named("catalogue_changes.revision", select(CatalogueState.revision))


class ChangeLog:
    """Numbers changes and logs them, in their own transaction."""

    def __init__(self, clock: Clock, *, is_sqlite: bool) -> None:
        self._clock = clock
        self._is_sqlite = is_sqlite

    async def claim(self, write: WriteSession, changes: int = 1) -> int:
        """Return the first of so many revisions, and hold off every other change.

        Hold rows of films, categories or actors only after this: so nobody waits in a circle.
        """
        row = await write.first(_CLAIM, {"claimed": changes})
        assert row is not None, "the migration made the row"
        return int(row.revision) - changes + 1

    async def add(
        self, write: WriteSession, first: int, entries: Sequence[Entry], author: Author
    ) -> None:
        """Log changes whose revisions were claimed, `first` and those that follow it."""
        rows = [self._row(first + place, entry, author) for place, entry in enumerate(entries)]
        await write.execute(_ADD, rows)
        if not self._is_sqlite:
            await write.execute(_NOTIFY)

    def _row(self, revision: int, entry: Entry, author: Author) -> dict[str, Any]:
        return {
            "revision": revision,
            "change_type": entry.change_type,
            "kind": entry.kind,
            "number": entry.number,
            "change_time": self._clock(),
            "principal": author.principal,
            "request_id": author.request_id,
            "resource": to_json(entry.after),
            "previous": to_json(entry.before),
            "changed_fields": ",".join(changed_fields(entry.before, entry.after)),
        }
