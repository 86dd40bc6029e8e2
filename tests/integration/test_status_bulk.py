"""What a caller is told about moving films in and out: one test per row, on both databases."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from server.generated.interview.catalogue.v1 import film_bulk_pb2 as pb
from server.rpc.details import MAX_DETAILS_BYTES
from tests.support.bulk_desk import BULK, BulkDesk, config, frames
from tests.support.film_desk import film
from tests.support.running import Running, running_server
from tests.support.statuses import check_call, refused, row

Prepare = Callable[[BulkDesk], Awaitable[Any]]
"""Returns the call that must fail."""


@pytest.fixture(scope="module")
async def unhurried(shared_url: str, shared_folder: Path) -> AsyncIterator[Running]:
    """A server over the sample films."""
    async with running_server(shared_url, shared_folder, **BULK) as running:
        yield running


@pytest.fixture
async def desk(unhurried: Running) -> BulkDesk:
    return await BulkDesk.open(unhurried)


async def _written(desk: BulkDesk, *requests: pb.ImportFilmsRequest) -> Any:
    call = desk.stream()
    for request in requests:
        await call.write(request)
    await call.done_writing()
    return call


def _export(**fields: Any) -> Prepare:
    async def call(desk: BulkDesk) -> Any:
        async def first() -> None:
            await anext(desk.exporting(**fields).__aiter__())

        return first()

    return call


def _import(*films: Any, **fields: Any) -> Prepare:
    async def call(desk: BulkDesk) -> Any:
        return desk.send(config(**fields), [films])

    return call


def _other(**fields: Any) -> Prepare:
    async def call(desk: BulkDesk) -> Any:
        first = config()
        await desk.imported(first, [])
        again = config(import_id=first.import_id, **fields)
        return desk.send(again, [])

    return call


async def _no_config(desk: BulkDesk) -> Any:
    return await _written(desk, *list(frames(config(), [[film()]]))[1:])


async def _nothing(desk: BulkDesk) -> Any:
    return await _written(desk)


async def _two_configs(desk: BulkDesk) -> Any:
    first = pb.ImportFilmsRequest(config=config())
    return await _written(desk, first, first)


async def _empty_frame(desk: BulkDesk) -> Any:
    return await _written(desk, pb.ImportFilmsRequest(config=config()), pb.ImportFilmsRequest())


async def _gap(desk: BulkDesk) -> Any:
    return desk.send(config(), [[film()]], 2)


async def _unknown(desk: BulkDesk) -> Any:
    return desk.GetFilmImport(pb.GetFilmImportRequest(name=f"filmImports/{uuid4()}"))


async def _no_name(desk: BulkDesk) -> Any:
    return desk.GetFilmImport(pb.GetFilmImportRequest(name="filmImports/17"))


ROWS = [
    row("CURSOR_INVALID", "not one of ours", _export(resume_cursor="x")),
    row("FILTER_UNKNOWN_FIELD", "an export", _export(filter="raiting = PG")),
    row("VALIDATION_FAILED", "an unknown view", _export(view=9)),
    row("VALIDATION_FAILED", "no UUID", _import(import_id="17")),
    row("VALIDATION_FAILED", "no mode", _import(mode=0)),
    row("VALIDATION_FAILED", "an unknown policy", _import(conflict_policy=9)),
    row("VALIDATION_FAILED", "a batch without films", _import()),
    row("VALIDATION_FAILED", "a film without a title", _import(film(title=""))),
    row("VALIDATION_FAILED", "no name of an import", _no_name),
    row("REFERENCE_NOT_FOUND", "no such language", _import(film(language="languages/99"))),
    row("RESOURCE_EXISTS", "a film that is there", _import(film(name="films/1"))),
    row("RESOURCE_NOT_FOUND", "no such import", _unknown),
    row("IMMUTABLE_FIELD", "another mode", _other(mode=pb.IMPORT_MODE_ATOMIC)),
    row(
        "IMMUTABLE_FIELD",
        "another policy",
        _other(conflict_policy=pb.IMPORT_CONFLICT_POLICY_SKIP),
    ),
    row("IMMUTABLE_FIELD", "only to check", _other(validate_only=True)),
    row("PROTOCOL_VIOLATION", "no config", _no_config),
    row("PROTOCOL_VIOLATION", "nothing at all", _nothing),
    row("PROTOCOL_VIOLATION", "a second config", _two_configs),
    row("PROTOCOL_VIOLATION", "an empty frame", _empty_frame),
    row("PROTOCOL_VIOLATION", "a batch that is missing", _gap),
]


@pytest.mark.parametrize(("reason", "prepare"), ROWS)
async def test_each_row(desk: BulkDesk, reason: str, prepare: Prepare) -> None:
    told = await check_call(desk.running, await prepare(desk), reason)
    if reason == "PROTOCOL_VIOLATION":
        assert set(told.metadata) == {"expected", "received"}
    if reason == "IMMUTABLE_FIELD":
        assert told.metadata["field"] in told.message


async def test_many_failures_still_arrive(desk: BulkDesk) -> None:
    bad = [film(title="", language=f"languages/{'x' * 200}", length_minutes=-1)] * 500
    told = await refused(desk.send(config(), [bad]))
    assert told.size <= MAX_DETAILS_BYTES
    told_import = told.by_kind["FilmImport"]
    assert told_import.failed_count == 500
    assert told_import.failures
    kept = await desk.GetFilmImport(pb.GetFilmImportRequest(name=told_import.name))
    assert len(kept.failures) == 100


async def test_nobody_without_the_right_moves_films(desk: BulkDesk) -> None:
    viewer = await BulkDesk.open(desk.running, "viewer@example.com")
    await check_call(desk.running, viewer.send(config(), []), "PERMISSION_DENIED")
    await check_call(desk.running, await _export()(viewer), "PERMISSION_DENIED")
    await check_call(desk.running, await _unknown(viewer), "PERMISSION_DENIED")
