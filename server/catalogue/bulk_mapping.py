"""Between films on their way in and out and their messages."""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from google.rpc import status_pb2

from server.catalogue.film_export import Export, Progress, Wanted
from server.catalogue.film_import import FilmImport, ImportFailure, ImportState
from server.catalogue.mapping import fill_film
from server.catalogue.watch_cursors import Place, WatchCursors
from server.core.clock import Clock, rfc3339
from server.core.errors import DomainError
from server.generated.interview.catalogue.v1 import film_bulk_pb2 as pb
from server.rpc.cursors import Cursors
from server.rpc.details import rich_status
from server.rpc.well_known import duration, timestamp

BATCH_BYTES: Final = 256 * 1024
"""Of a serialized ExportFilmsResponse, unless its one film alone is larger."""
_ENVELOPE_BYTES: Final = 2048
"""Room for everything in a batch but its films."""
LIFETIME: Final = timedelta(hours=72)
_PURPOSE: Final = "export"

_TAG_BYTES: Final = 4
"""Before each film of a batch: its field's number and its length, below 2 MiB."""

_ATTACHED_BYTES: Final = 1536
"""Of a FilmImport that goes with an error: a status must stay small to arrive at all."""

_STATES: Final = {
    ImportState.RUNNING: pb.FILM_IMPORT_STATE_RUNNING,
    ImportState.SUCCEEDED: pb.FILM_IMPORT_STATE_SUCCEEDED,
    ImportState.FAILED: pb.FILM_IMPORT_STATE_FAILED,
    ImportState.INTERRUPTED: pb.FILM_IMPORT_STATE_INTERRUPTED,
}


class ExportCursors:
    """Seals and opens the cursors of exports, each bound to the arguments of its own."""

    def __init__(self, cursors: Cursors, clock: Clock) -> None:
        self._cursors = cursors
        self._watches = WatchCursors(cursors)
        self._clock = clock

    def seal(self, wanted: Wanted, progress: Progress) -> str:
        """Return what a client sends as resume_cursor to go on from there."""
        return self._cursors.seal(
            _PURPOSE,
            {
                "after": progress.after,
                "exported": progress.exported,
                "revision": progress.revision,
                "begun": progress.begun.timestamp(),
                "arguments": _hashes(wanted),
            },
        )

    def watch(self, progress: Progress) -> str:
        """Return the cursor of a watch of all that changed since the export began."""
        return self._watches.seal(Place(progress.revision, progress.begun))

    def open(self, wanted: Wanted, text: str) -> Progress | None:
        """Return how far an export is; None where there is no cursor.

        Raises:
            DomainError: CURSOR_INVALID, it is none, or is of other arguments; CURSOR_EXPIRED.
        """
        if not text:
            return None
        content = self._cursors.open(_PURPOSE, text)
        hashes = _hashes(wanted)
        if changed := [name for name in hashes if hashes[name] != content["arguments"].get(name)]:
            raise DomainError(
                f"resume_cursor was made for another {', '.join(changed)}; send the same"
                " arguments, or begin anew without a cursor",
                reason="CURSOR_INVALID",
            )
        self._check_age(datetime.fromtimestamp(content["time"], tz=UTC))
        begun = datetime.fromtimestamp(content["begun"], tz=UTC)
        return Progress(content["after"], content["exported"], content["revision"], begun)

    def _check_age(self, sealed: datetime) -> None:
        if self._clock() - sealed > LIFETIME:
            raise DomainError(
                "resume_cursor is older than 72 hours; begin anew without a cursor",
                reason="CURSOR_EXPIRED",
                metadata={"sent_cursor_time": rfc3339(sealed)},
            )


def _hashes(wanted: Wanted) -> Mapping[str, str]:
    arguments = {
        "filter": wanted.where,
        "view": wanted.full,
        "show_deleted": wanted.show_deleted,
    }
    return {
        name: hashlib.blake2b(repr(value).encode(), digest_size=4).hexdigest()
        for name, value in arguments.items()
    }


async def export_responses(
    export: Export, wanted: Wanted, cursors: ExportCursors
) -> AsyncGenerator[pb.ExportFilmsResponse, None]:
    """Yield the batches of an export, each as soon as it is full."""
    limit = BATCH_BYTES - _ENVELOPE_BYTES
    progress, batch, size = export.progress, _empty(export), 0
    async with aclosing(export.films()) as parts:
        async for films in parts:
            for film in films:
                message = batch.films.add()
                fill_film(message, film, full=wanted.full)
                added = message.ByteSize() + _TAG_BYTES
                if size and size + added > limit:
                    following = _empty(export)
                    following.films.add().CopyFrom(message)
                    del batch.films[-1]
                    yield _sealed(batch, wanted, progress, cursors)
                    batch, size = following, 0
                size += added
                progress = replace(progress, after=film.film_id, exported=progress.exported + 1)
    batch.complete = True
    batch.watch_cursor = cursors.watch(progress)
    yield _sealed(batch, wanted, progress, cursors)


def _empty(export: Export) -> pb.ExportFilmsResponse:
    return pb.ExportFilmsResponse(
        snapshot_revision=export.snapshot.revision,
        snapshot_time=timestamp(export.snapshot.time),
    )


def _sealed(
    batch: pb.ExportFilmsResponse, wanted: Wanted, progress: Progress, cursors: ExportCursors
) -> pb.ExportFilmsResponse:
    batch.resume_cursor = cursors.seal(wanted, progress)
    batch.exported_count = progress.exported
    return batch


def film_import_message(film_import: FilmImport) -> pb.FilmImport:
    """Turn an import into its message, with every failure that is kept."""
    message = _without_failures(film_import)
    message.failures.extend([_failure_message(failure) for failure in film_import.failures])
    return message


def attached_import(film_import: FilmImport) -> pb.FilmImport:
    """Turn an import into a message that goes with an error: with as many failures as fit."""
    message = _without_failures(film_import)
    for failure in film_import.failures:
        message.failures.append(_failure_message(failure))
        if message.ByteSize() > _ATTACHED_BYTES:
            del message.failures[-1]
            break
    return message


def _without_failures(film_import: FilmImport) -> pb.FilmImport:
    return pb.FilmImport(
        name=film_import.name,
        state=_STATES[film_import.state],
        committed_batch_number=film_import.committed_batch,
        created_count=film_import.created,
        updated_count=film_import.updated,
        skipped_count=film_import.skipped,
        failed_count=film_import.failed,
        create_time=timestamp(film_import.create_time),
        update_time=timestamp(film_import.update_time),
        elapsed=duration(film_import.update_time - film_import.create_time),
    )


def _failure_message(failure: ImportFailure) -> pb.ImportFailure:
    return pb.ImportFailure(
        batch_number=failure.batch_number, index=failure.index, status=_status(failure.error)
    )


def _status(error: DomainError) -> status_pb2.Status:
    return rich_status(error, "")
