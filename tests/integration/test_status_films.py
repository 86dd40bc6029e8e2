"""What a caller is told about changing films: one test per row, on both databases."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.support.film_desk import NO_FILM, FilmDesk, plant_copy
from tests.support.running import Running
from tests.support.statuses import check_call, row
from tests.support.user_desk import plant_shop

Prepare = Callable[[FilmDesk], Awaitable[Any]]
"""Returns the call that must fail."""


async def _bad_field(desk: FilmDesk) -> Any:
    return desk.create(title="")


async def _no_film(desk: FilmDesk) -> Any:
    return desk.update(NO_FILM, title="x")


async def _no_category(desk: FilmDesk) -> Any:
    return desk.create(categories=["categories/4242"])


async def _part_of_an_amount(desk: FilmDesk) -> Any:
    return desk.update(NO_FILM, ["rental_rate.units"])


async def _stale_etag(desk: FilmDesk) -> Any:
    made = await desk.create()
    await desk.update(made.name, title="x")
    return desk.delete(made.name, etag=made.etag)


async def _deleted(desk: FilmDesk) -> Any:
    made = await desk.create()
    await desk.delete(made.name)
    return desk.update(made.name, title="x")


async def _not_deleted(desk: FilmDesk) -> Any:
    return desk.undelete((await desk.create()).name)


async def _other_request(desk: FilmDesk) -> Any:
    request = {"request_id": str(uuid4())}
    await desk.create(request)
    return desk.create(request, title="ANOTHER FILM")


async def _copies(desk: FilmDesk) -> Any:
    made = await desk.create()
    await plant_copy(desk.running.app.database, made.name)
    return desk.delete(made.name)


async def _lent_out(desk: FilmDesk) -> Any:
    made = await desk.create()
    await plant_copy(desk.running.app.database, made.name, lent=True)
    return desk.delete(made.name, force=True)


ROWS = [
    row("VALIDATION_FAILED", "a film without a title", _bad_field),
    row("RESOURCE_NOT_FOUND", "no such film", _no_film),
    row("REFERENCE_NOT_FOUND", "no such category", _no_category),
    row("FIELD_MASK_INVALID", "a part of an amount", _part_of_an_amount),
    row("ETAG_MISMATCH", "a film that was changed", _stale_etag),
    row("RESOURCE_DELETED", "a change of a deleted film", _deleted),
    row("RESOURCE_EXISTS", "an undelete of one that is not deleted", _not_deleted),
    row("REQUEST_ID_REUSED", "another film with the same request_id", _other_request),
    row("RESOURCE_IN_USE", "a film with copies", _copies),
    row("RESOURCE_IN_USE", "a film that is lent out", _lent_out),
]


@pytest.fixture(scope="module", autouse=True)
async def shop(shared: Running) -> None:
    await plant_shop(shared)


@pytest.mark.parametrize(("reason", "prepare"), ROWS)
async def test_row(shared: Running, reason: str, prepare: Prepare) -> None:
    desk = await FilmDesk.open(shared)
    await check_call(shared, await prepare(desk), reason)
