"""The calls whose growth is measured, each with what has to be asked before it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from benchmarks.generate import Catalogue
from benchmarks.processes import RunFailed
from server.generated.interview.catalogue.v1 import (
    catalogue_service_pb2_grpc,
    change_pb2,
    film_bulk_pb2,
    film_changes_pb2,
    film_pb2,
    resources_pb2,
    taxonomy_pb2,
)

CALL_SECONDS: Final = 60.0
EXPORTED: Final = 100_000
"""An export is given up after so many films: the rest costs the same."""
IMPORT_BATCHES, IMPORT_FILMS = 5, 200
_DEEP_PAGES: Final = 60
"""A deep page is in the middle of the catalogue, or behind so many full ones."""
_FULL: Final = 1_000

Ask = Callable[[int], Awaitable[int]]
"""Makes the n-th call; returns how many films it was about, by which its cost is divided."""


class Caller:
    """Someone who is signed in."""

    def __init__(self, channel: grpc.aio.Channel, header: tuple[str, str]) -> None:
        self.stub = catalogue_service_pb2_grpc.CatalogueServiceStub(channel)
        self.metadata = (header,)


@dataclass(frozen=True, slots=True)
class Call:
    """What is measured: `prepared` returns what makes the call. A bulk call is made once."""

    name: str
    prepared: Callable[[Caller], Awaitable[Ask]]
    is_bulk: bool = False


def calls(generated: Catalogue) -> Sequence[Call]:
    """Return all calls over a catalogue."""
    frequent, second = generated.words[0], generated.words[40]
    name = generated.name(generated.names // 2)
    wrong = f"{name[:3]}{'x' if name[3] != 'x' else 'y'}{name[4:]}"
    return [
        _get(generated),
        *(_list(*row) for row in _LISTS),
        _deep(generated, "ListFilms, deep page by number", ""),
        _deep(generated, "ListFilms, deep page by title", "title"),
        _deep(generated, "ListFilms, deep page by newest year", "release_year desc"),
        _search("a rare word", name),
        _search("a frequent word", frequent),
        _search("two words", f"{frequent} {second}"),
        _search("a typo", wrong),
        _search("a beginning", name[:5]),
        _categories(),
        _actors(),
        _create(),
        _changes(),
        _update(generated),
        Call("ExportFilms, a film of it", _exported, is_bulk=True),
        Call("ImportFilms, a film of it", _imported, is_bulk=True),
    ]


_LISTS: Final = (
    ("first page", film_pb2.ListFilmsRequest()),
    ("first page by title", film_pb2.ListFilmsRequest(order_by="title")),
    ("first page by newest year", film_pb2.ListFilmsRequest(order_by="release_year desc")),
    ("of a category", film_pb2.ListFilmsRequest(filter='categories:"categories/20"')),
    ("of a year and rating", film_pb2.ListFilmsRequest(filter="release_year = 1999 rating = PG")),
    ("of an actor", film_pb2.ListFilmsRequest(filter='actors:"actors/7"')),
    ("with a word", film_pb2.ListFilmsRequest(filter='search("grandlenbab")')),
    ("with the count", film_pb2.ListFilmsRequest(return_total_size=True)),
    (
        "of a year with the count",
        film_pb2.ListFilmsRequest(filter="release_year = 1999", return_total_size=True),
    ),
)


def _get(generated: Catalogue) -> Call:
    async def prepared(caller: Caller) -> Ask:
        async def ask(turn: int) -> int:
            request = film_pb2.GetFilmRequest(name=f"films/{_some(generated, turn)}")
            await caller.stub.GetFilm(request, metadata=caller.metadata, timeout=CALL_SECONDS)
            return 1

        return ask

    return Call("GetFilm", prepared)


def _list(name: str, request: film_pb2.ListFilmsRequest) -> Call:
    async def prepared(caller: Caller) -> Ask:
        async def ask(_turn: int) -> int:
            await caller.stub.ListFilms(request, metadata=caller.metadata, timeout=CALL_SECONDS)
            return 1

        return ask

    return Call(f"ListFilms, {name}", prepared)


def _deep(generated: Catalogue, name: str, order_by: str) -> Call:
    size = min(_FULL, generated.films // 20)
    pages = min(_DEEP_PAGES, generated.films // 2 // size)

    async def prepared(caller: Caller) -> Ask:
        token = ""
        for _ in range(pages):
            request = film_pb2.ListFilmsRequest(page_size=size, order_by=order_by, page_token=token)
            page = await caller.stub.ListFilms(
                request, metadata=caller.metadata, timeout=CALL_SECONDS
            )
            token = page.next_page_token
        request = film_pb2.ListFilmsRequest(page_size=50, order_by=order_by, page_token=token)

        async def ask(_turn: int) -> int:
            await caller.stub.ListFilms(request, metadata=caller.metadata, timeout=CALL_SECONDS)
            return 1

        return ask

    return Call(name, prepared)


def _search(name: str, query: str) -> Call:
    async def prepared(caller: Caller) -> Ask:
        request = film_pb2.SearchFilmsRequest(query=query)

        async def ask(_turn: int) -> int:
            await caller.stub.SearchFilms(request, metadata=caller.metadata, timeout=CALL_SECONDS)
            return 1

        return ask

    return Call(f"SearchFilms, {name}", prepared)


def _categories() -> Call:
    async def prepared(caller: Caller) -> Ask:
        async def ask(_turn: int) -> int:
            request = taxonomy_pb2.ListCategoriesRequest()
            await caller.stub.ListCategories(
                request, metadata=caller.metadata, timeout=CALL_SECONDS
            )
            return 1

        return ask

    return Call("ListCategories", prepared)


def _actors() -> Call:
    async def prepared(caller: Caller) -> Ask:
        async def ask(_turn: int) -> int:
            request = taxonomy_pb2.ListActorsRequest()
            await caller.stub.ListActors(request, metadata=caller.metadata, timeout=CALL_SECONDS)
            return 1

        return ask

    return Call("ListActors", prepared)


def _create() -> Call:
    async def prepared(caller: Caller) -> Ask:
        async def ask(turn: int) -> int:
            request = film_changes_pb2.CreateFilmRequest(film=_new_film(f"Made {turn}"))
            await caller.stub.CreateFilm(request, metadata=caller.metadata, timeout=CALL_SECONDS)
            return 1

        return ask

    return Call("CreateFilm", prepared)


def _changes() -> Call:
    async def prepared(caller: Caller) -> Ask:
        async def ask(_turn: int) -> int:
            request = change_pb2.ListChangesRequest()
            await caller.stub.ListChanges(request, metadata=caller.metadata, timeout=CALL_SECONDS)
            return 1

        return ask

    return Call("ListChanges", prepared)


def _update(generated: Catalogue) -> Call:
    async def prepared(caller: Caller) -> Ask:
        async def ask(turn: int) -> int:
            film = resources_pb2.Film(
                name=f"films/{_some(generated, turn)}", title=f"Changed {turn} {uuid4().hex[:6]}"
            )
            request = film_changes_pb2.UpdateFilmRequest(
                film=film, update_mask=FieldMask(paths=["title"])
            )
            await caller.stub.UpdateFilm(request, metadata=caller.metadata, timeout=CALL_SECONDS)
            return 1

        return ask

    return Call("UpdateFilm", prepared)


async def _exported(caller: Caller) -> Ask:
    async def ask(_turn: int) -> int:
        count = 0
        stream = caller.stub.ExportFilms(
            film_bulk_pb2.ExportFilmsRequest(), metadata=caller.metadata, timeout=CALL_SECONDS * 5
        )
        async for part in stream:
            count += len(part.films)
            if count >= EXPORTED:
                stream.cancel()
                break
        return count

    return ask


async def _imported(caller: Caller) -> Ask:
    config = film_bulk_pb2.ImportFilmsConfig(
        import_id=str(uuid4()),
        mode=film_bulk_pb2.IMPORT_MODE_PER_BATCH,
        conflict_policy=film_bulk_pb2.IMPORT_CONFLICT_POLICY_FAIL,
    )
    frames = [film_bulk_pb2.ImportFilmsRequest(config=config)]
    for number in range(1, IMPORT_BATCHES + 1):
        films = [_new_film(f"Imported {number} {place}") for place in range(IMPORT_FILMS)]
        batch = film_bulk_pb2.ImportFilmsBatch(batch_number=number, films=films)
        frames.append(film_bulk_pb2.ImportFilmsRequest(batch=batch))

    async def ask(_turn: int) -> int:
        answer = await caller.stub.ImportFilms(
            iter(frames), metadata=caller.metadata, timeout=CALL_SECONDS * 5
        )
        count = answer.film_import.created_count
        if count != IMPORT_BATCHES * IMPORT_FILMS:
            raise RunFailed(f"of {IMPORT_BATCHES * IMPORT_FILMS} films {count} were imported")
        return count

    return ask


def _new_film(title: str) -> resources_pb2.Film:
    return resources_pb2.Film(
        title=title,
        description="A film that was made to see what making one costs.",
        release_year=2001,
        language="languages/1",
        categories=["categories/1", "categories/5"],
        actors=["actors/3", "actors/9", "actors/27"],
    )


def _some(generated: Catalogue, turn: int) -> int:
    return 1 + turn * 7_919 % generated.films
