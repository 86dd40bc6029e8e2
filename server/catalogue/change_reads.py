"""The log of changes in SQL: how it is read, and how its oldest rows are deleted."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Delete,
    Integer,
    Row,
    Select,
    Text,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    select,
    true,
)

from server.catalogue.change_log import REVISION
from server.catalogue.change_records import from_json
from server.catalogue.change_source import Logged, Stretch
from server.catalogue.changes import COLLECTIONS, Author, Change, ChangeType, ResourceKind
from server.catalogue.models import CatalogueChange, CatalogueState
from server.core.paging import Page, PageRequest, cut_page
from server.database.engine import Database, WriteSession
from server.database.names import named
from server.query.filter_sql import FilterColumns, ScalarColumn, compile_filter
from server.query.filter_types import Filter, Value

_ROW: Final = CatalogueChange.__table__
_STATE: Final = CatalogueState.__table__
_END_OF_NUMBERS: Final = 2**63 - 1

_SELECT: Final = select(
    _ROW.c.revision,
    _ROW.c.change_type,
    _ROW.c.kind,
    _ROW.c.number,
    _ROW.c.change_time,
    _ROW.c.principal,
    _ROW.c.request_id,
    _ROW.c.resource,
    _ROW.c.previous,
    _ROW.c.changed_fields,
)


def _after() -> Select[Any]:
    page = (
        _SELECT.where(_ROW.c.revision > bindparam("after", type_=BigInteger))
        .order_by(_ROW.c.revision)
        .limit(bindparam("limit"))
        .subquery("page")
    )
    # With the revision of the same moment: else a row that is missing could be one to come.
    return named(
        "catalogue_changes.after",
        select(*page.c, _STATE.c.revision.label("latest"))
        .select_from(_STATE.outerjoin(page, true()))
        .order_by(page.c.revision),
    )


def _kept() -> Select[Any]:
    before = _ROW.alias("before")
    start = (
        select(_ROW.c.revision)
        .where(
            _ROW.c.revision > bindparam("checked", type_=BigInteger),
            ~exists().where(before.c.revision == _ROW.c.revision - 1),
        )
        .order_by(_ROW.c.revision.desc())
        .limit(1)
        .scalar_subquery()
    )
    first = select(func.min(_ROW.c.revision)).scalar_subquery()
    last = select(func.max(_ROW.c.revision)).scalar_subquery()
    return named(
        "catalogue_changes.kept",
        select(
            _STATE.c.revision.label("latest"),
            start.label("start"),
            first.label("first"),
            last.label("last"),
        ),
    )


def _delete_oldest() -> Delete:
    # Not a CTE: Python's sqlite3 counts no rows of a statement that begins with WITH.
    rows = (
        select(_ROW.c.revision, _ROW.c.change_time)
        .order_by(_ROW.c.revision)
        .limit(bindparam("most", type_=Integer()))
    )
    oldest, younger = rows.subquery("oldest"), rows.subquery("younger")
    at = bindparam("at", type_=_ROW.c.change_time.type)
    # Clocks of processes differ: what is behind a younger row stays, so that nothing is missing
    # between two rows.
    first_kept = select(func.min(younger.c.revision)).where(younger.c.change_time > at)
    end = func.coalesce(first_kept.scalar_subquery(), _END_OF_NUMBERS)
    due = select(oldest.c.revision).where(oldest.c.revision < end)
    return named(
        "catalogue_changes.delete_oldest",
        delete(CatalogueChange).where(_ROW.c.revision.in_(due)),
    )


AFTER: Final = _after()
KEPT: Final = _kept()
DELETE_OLDEST: Final = _delete_oldest()


def _stored(value: Value) -> Value:
    """Return the word of the rows for the contract's name: CREATED is created."""
    return str(value).lower()


_NAMES: Final = {kind.value: f"{collection}/" for kind, collection in COLLECTIONS.items()}
COLUMNS: Final = FilterColumns(
    {
        "revision": ScalarColumn(_ROW.c.revision),
        "change_type": ScalarColumn(_ROW.c.change_type, _stored),
        "resource_kind": ScalarColumn(_ROW.c.kind, _stored),
        "resource_number": ScalarColumn(_ROW.c.number),
        "resource_name": ScalarColumn(
            case(_NAMES, value=_ROW.c.kind, else_="").concat(cast(_ROW.c.number, Text))
        ),
        "change_time": ScalarColumn(_ROW.c.change_time),
        "principal": ScalarColumn(_ROW.c.principal),
        "request_id": ScalarColumn(_ROW.c.request_id),
    },
    has_term=lambda _term: true(),
)
"""`resource_number` is no field of the contract: a name becomes its kind and its number."""


class ChangeRows:
    """Reads the log of changes. Implements LogSource."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Looking for what is missing takes long, so each row is looked at once: between these
        # two revisions nothing is missing but what was deleted for its age.
        self._oldest, self._checked = 0, 0

    async def latest(self) -> int:
        """Return the revision of the catalogue."""
        row = await self._database.read.first(REVISION)
        assert row is not None, "the migration made the row"
        return int(row.revision)

    async def after(self, revision: int, limit: int) -> Stretch:
        """Return the changes behind a revision, at most so many."""
        found = await self._database.read.all(AFTER, {"after": revision, "limit": limit})
        latest = int(found[0].latest)
        rows = [row for row in found if row.revision is not None]
        whole = 0
        while whole < len(rows) and rows[whole].revision == revision + whole + 1:
            whole += 1
        ended = whole == len(rows) == limit or revision + whole == latest
        logged = [Logged(row.revision, row, change_of) for row in rows[:whole]]
        return Stretch(logged, latest, missing=not ended)

    async def oldest(self) -> int:
        """Return the lowest revision behind which nothing is missing."""
        row = await self._database.read.first(KEPT, {"checked": self._checked})
        assert row is not None, "the migration made the row"
        if row.last is None or row.last < row.latest:
            oldest = int(row.latest)
        elif row.start is not None:
            oldest = int(row.start) - 1
        else:
            oldest = max(self._oldest, int(row.first) - 1)
        self._oldest, self._checked = oldest, int(row.latest)
        return oldest

    async def page(
        self, page: PageRequest, where: Filter | None, *, descending: bool
    ) -> Page[Change]:
        """Return a page of the changes that meet the filter, by revision."""
        statement = named("catalogue_changes.list", _SELECT).order_by(_order(descending))
        if where is not None:
            statement = statement.where(compile_filter(where, COLUMNS))
        if page.after:
            statement = statement.where(_behind(page.after[0], descending=descending))
        rows = await self._database.read.all(statement.limit(page.size + 1))
        found = cut_page(rows, page, lambda row: (row.revision,))
        return Page([change_of(row) for row in found.rows], found.next_after)

    async def delete_oldest(self, end: datetime, limit: int) -> int:
        """Delete at most so many changes that were made up to a moment; return how many."""

        async def work(write: WriteSession) -> int:
            return (await write.execute(DELETE_OLDEST, {"at": end, "most": limit})).rowcount

        return await self._database.transaction(work)


def _order(descending: bool) -> ColumnElement[Any]:  # noqa: FBT001  # the one thing it takes
    return _ROW.c.revision.desc() if descending else _ROW.c.revision.asc()


def _behind(revision: Any, *, descending: bool) -> ColumnElement[bool]:
    bound = bindparam("behind", revision, type_=BigInteger)
    return _ROW.c.revision < bound if descending else _ROW.c.revision > bound


def change_of(row: Row[Any]) -> Change:
    """Read one row."""
    kind = ResourceKind(row.kind)
    return Change(
        revision=row.revision,
        change_type=ChangeType(row.change_type),
        kind=kind,
        number=row.number,
        after=from_json(kind, row.resource),
        before=from_json(kind, row.previous),
        changed_fields=tuple(row.changed_fields.split(",")) if row.changed_fields else (),
        change_time=row.change_time,
        author=Author(row.principal, row.request_id),
    )
