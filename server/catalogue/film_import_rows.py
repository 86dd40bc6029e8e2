"""The rows of imports: constant statements, built once, and what a row says."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Integer, Row, bindparam, delete, insert, select, update

from server.catalogue.film_import import (
    IDLE,
    LONGEST_STREAM,
    ConflictPolicy,
    FilmImport,
    ImportConfig,
    ImportFailure,
    ImportMode,
    ImportState,
    Stream,
)
from server.catalogue.models import FilmImport as ImportRow
from server.core.errors import DomainError, FieldViolation, ResourceRef
from server.database.names import named

_TABLE: Final = ImportRow.__table__
_THIS: Final = ImportRow.import_id == bindparam("this", type_=ImportRow.import_id.type)
_MINE: Final = ImportRow.stream_id == bindparam("mine", type_=ImportRow.stream_id.type)
_RUNNING: Final = ImportRow.state == ImportState.RUNNING.value

FIND: Final = named("film_imports.find", select(_TABLE).where(_THIS))
HOLD: Final = named("film_imports.hold", select(_TABLE).where(_THIS).with_for_update())
ADD: Final = named("film_imports.add", insert(ImportRow).returning(*_TABLE.c))
TAKE: Final = named("film_imports.take", update(ImportRow).where(_THIS).returning(*_TABLE.c))
NEXT: Final = named(
    "film_imports.next",
    select(_TABLE).where(_THIS, _MINE, ImportRow.committed_batch == bindparam("behind")),
)
ADVANCE: Final = named(
    "film_imports.advance",
    update(ImportRow).where(_THIS, _MINE, ImportRow.committed_batch == bindparam("behind")),
)
OURS: Final = named("film_imports.ours", select(_TABLE).where(_THIS, _MINE).with_for_update())
FAIL: Final = named("film_imports.fail", update(ImportRow).where(_THIS, _MINE))
END: Final = named(
    "film_imports.end", update(ImportRow).where(_THIS, _MINE, _RUNNING).returning(*_TABLE.c)
)
FORGET: Final = named(
    "film_imports.forget",
    delete(ImportRow).where(
        ImportRow.import_id.in_(
            select(ImportRow.import_id)
            .where(ImportRow.update_time <= bindparam("at", type_=ImportRow.update_time.type))
            .limit(bindparam("most", type_=Integer()))
            .with_for_update(skip_locked=True)
        )
    ),
)


_LONGEST_WITHOUT_BATCH: Final = 3 * IDLE
"""A stream that runs has a batch stored by then, but for one that stores them all at its end."""


def this(stream: Stream) -> dict[str, Any]:
    """Return the parameters that name a stream's import."""
    return {"this": stream.config.import_id}


def mine(stream: Stream) -> dict[str, Any]:
    """Return the parameters that name a stream's import as long as no other stream has come."""
    return {"this": stream.config.import_id, "mine": stream.stream_id}


def new_row(stream: Stream, now: datetime) -> dict[str, Any]:
    """Return the row of an import that begins."""
    return {
        "import_id": stream.config.import_id,
        "owner_id": stream.owner_id,
        "stream_id": stream.stream_id,
        "mode": stream.config.mode.value,
        "conflict_policy": stream.config.conflict_policy.value,
        "state": ImportState.RUNNING.value,
        "create_time": now,
        "update_time": now,
    }


def again(stream: Stream, now: datetime) -> dict[str, Any]:
    """Return what changes of the row of an import that goes on."""
    values = {
        "stream_id": stream.stream_id,
        "state": ImportState.RUNNING.value,
        "update_time": now,
    }
    if stream.config.mode is not ImportMode.BEST_EFFORT:
        # What failed was not stored and is about to come again.
        values |= {"failed": 0, "failures": "[]"}
    return values


def changed(film_import: FilmImport) -> dict[str, Any]:
    """Return what changes of an import's row with a batch."""
    return {
        "state": film_import.state.value,
        "committed_batch": film_import.committed_batch,
        "created": film_import.created,
        "updated": film_import.updated,
        "skipped": film_import.skipped,
        "failed": film_import.failed,
        "failures": orjson.dumps([_written(f) for f in film_import.failures]).decode(),
        "update_time": film_import.update_time,
    }


def config_of(row: Row[Any]) -> ImportConfig:
    """Return what an import was begun as."""
    return ImportConfig(row.import_id, ImportMode(row.mode), ConflictPolicy(row.conflict_policy))


def import_of(row: Row[Any]) -> FilmImport:
    """Read an import."""
    return FilmImport(
        import_id=row.import_id,
        state=ImportState(row.state),
        create_time=row.create_time,
        update_time=row.update_time,
        committed_batch=row.committed_batch,
        created=row.created,
        updated=row.updated,
        skipped=row.skipped,
        failed=row.failed,
        failures=tuple([_read(failure) for failure in orjson.loads(row.failures)]),
    )


def seen_at(row: Row[Any], now: datetime) -> FilmImport:
    """Read an import as it is now: one whose server died runs no more, whatever its row says."""
    film_import = import_of(row)
    atomic = row.mode == ImportMode.ATOMIC
    longest = LONGEST_STREAM + IDLE if atomic else _LONGEST_WITHOUT_BATCH
    if film_import.state is ImportState.RUNNING and now - film_import.update_time > longest:
        return replace(film_import, state=ImportState.INTERRUPTED)
    return film_import


def _written(failure: ImportFailure) -> Mapping[str, Any]:
    error = failure.error
    resource = error.resource
    return {
        "batch": failure.batch_number,
        "index": failure.index,
        "reason": error.reason,
        "message": error.message,
        "metadata": error.metadata,
        "violations": [[v.field, v.description] for v in error.violations],
        "resource": None if resource is None else [resource.resource_type, resource.name],
    }


def _read(written: Mapping[str, Any]) -> ImportFailure:
    error = DomainError(
        written["message"],
        reason=written["reason"],
        metadata=written["metadata"],
        violations=[FieldViolation(*violation) for violation in written["violations"]],
        resource=None if written["resource"] is None else ResourceRef(*written["resource"]),
    )
    return ImportFailure(written["batch"], written["index"], error)
