"""docs/filters.md: every example is sent to a server and answered as the page says."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from server.catalogue.query_fields import film_fields
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from server.query.filter_grammar import MAX_CHARACTERS, MAX_COMPARISONS, MAX_DEPTH, MAX_VALUES
from server.query.filters import MAX_ORDER_FIELDS
from tests.support.running import Running, running_server

PAGE = Path(__file__).parents[2] / "docs/filters.md"
_CODE = re.compile(r"`([^`]+)`")


def _rows(heading: str) -> Iterator[list[str]]:
    """Yield the rows of all tables whose first column is headed so."""
    inside = False
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not cells:
            inside = False
        elif inside and not cells[0].startswith("---"):
            yield cells
        elif cells[0] == heading:
            inside = True


def _example(cell: str) -> str:
    found = _CODE.fullmatch(cell)
    assert found is not None, cell
    return found[1]


class _Lister:
    """Lists films as a viewer."""

    def __init__(self, running: Running, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
        self._metadata = metadata

    async def answer(self, **fields: Any) -> film_pb2.ListFilmsResponse:
        request = film_pb2.ListFilmsRequest(page_size=1, return_total_size=True, **fields)
        found: film_pb2.ListFilmsResponse = await self._stub.ListFilms(
            request, metadata=self._metadata, timeout=10
        )
        return found

    async def refusal(self, **fields: str) -> list[str]:
        """Return reason and message, without what the message is about, as a row has them."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.answer(**fields)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        trailers = dict(caught.value.trailing_metadata() or ())
        status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(bad)
        return [f"`{info.reason}`", bad.field_violations[0].description]


@pytest.fixture(scope="module")
async def today(shared_url: str, shared_folder: Path) -> AsyncIterator[Running]:
    """A server whose clock is the database's, which stored the films a moment ago."""
    async with running_server(shared_url, shared_folder) as running:
        yield running


@pytest.fixture
async def lister(today: Running) -> _Lister:
    return _Lister(today, await today.sign_in())


async def test_filters_find_as_many_films_as_the_page_says(lister: _Lister) -> None:
    told = {_example(row[0]): row[2] for row in _rows("filter")}
    found = {one: str((await lister.answer(filter=one)).total_size) for one in told}
    assert found == told
    assert len(told) > 35


async def test_orders_begin_with_the_film_that_the_page_says(lister: _Lister) -> None:
    told = {_example(row[0]): row[1] for row in _rows("order_by")}
    found = {one: (await lister.answer(order_by=one)).films[0].title for one in told}
    assert found == told
    assert len(told) == 4


@pytest.mark.parametrize("parameter", ["filter", "order_by"])
async def test_mistakes_are_answered_as_the_page_says(lister: _Lister, parameter: str) -> None:
    told = {_example(row[0]): row[1:] for row in _rows(f"{parameter} is refused")}
    found = {one: await lister.refusal(**{parameter: one}) for one in told}
    assert found == told
    assert len(told) >= 4


def test_fields_stand_on_the_page_as_in_the_contract() -> None:
    told: dict[str, tuple[str, bool]] = {}
    for kind, sortable, others, _ in _rows("kind"):
        told |= dict.fromkeys(_CODE.findall(sortable), (kind, True))
        told |= dict.fromkeys(_CODE.findall(others), (kind, False))
    assert told == {
        path: (f"repeated {spec.kind.value}" if spec.repeated else spec.kind.value, spec.sortable)
        for path, spec in film_fields().items()
        if spec.filterable and path != "labels"
    }


def test_limits_on_the_page_are_those_of_the_server() -> None:
    page = " ".join(PAGE.read_text("utf-8").split())
    assert f"at most {MAX_CHARACTERS:,} characters".replace(",", " ") in page
    assert f"at most {MAX_DEPTH} parentheses open at once, {MAX_COMPARISONS} conditions" in page
    assert f"and {MAX_VALUES} values" in page
    assert f"up to {MAX_ORDER_FIELDS} fields" in page
