"""Calls to a real server: who may make them, what they answer, and what they log."""

from server.generated.interview.catalogue.v1 import (
    catalogue_service_pb2_grpc,
    film_pb2,
)
from tests.support.running import Running


async def test_a_signed_in_viewer_lists_films(running: Running) -> None:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    answer = await stub.ListFilms(
        film_pb2.ListFilmsRequest(page_size=3, return_total_size=True),
        metadata=await running.sign_in(),
    )
    assert [film.name for film in answer.films] == ["films/1", "films/2", "films/3"]
    assert answer.total_size > 250
    assert answer.next_page_token
