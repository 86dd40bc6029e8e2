"""Whether a search brings what a person wants to see, for queries with known right answers.

The queries are in relevance_queries.toml. They are asked of a real server over the sample films,
with each ranking that it has.
"""

import asyncio
import json
import os
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

import grpc

from benchmarks.databases import execute, fresh_postgres
from benchmarks.processes import EMAIL, PASSWORD, environment, prepare, running_server
from benchmarks.report import aligned
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2

QUERIES = Path(__file__).with_name("relevance_queries.toml")
NOTHING = "nothing"
"""The kind of queries that are right when they find nothing."""
PAGE = 10
CALL_SECONDS = 30.0
TOKEN_VARIABLE = "BENCHMARK_TOKEN"
RANKINGS = {
    "text": film_pb2.SEARCH_RANKING_TEXT,
    "text and meaning": film_pb2.SEARCH_RANKING_TEXT_AND_MEANING,
}
_HEAD = ("kind", "queries", "hit@1", "hit@5", "MRR@10")


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and the titles that are right answers; none: nothing is to be found."""

    kind: str
    text: str
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A query and the titles of its first page, the best first."""

    query: Query
    titles: tuple[str, ...]
    seconds: float = 0.0

    @property
    def place(self) -> int | None:
        """Return where the first right answer is, counted from 1."""
        if self.query.kind == NOTHING:
            return None if self.titles else 1
        right = (n for n, title in enumerate(self.titles, 1) if title in self.query.expected)
        return next(right, None)


@dataclass(frozen=True)
class Score:
    """How good a set of answers is: shares of the queries, and the mean of 1 / place."""

    answers: Sequence[Answered]

    def hits(self, places: int) -> float:
        """Return the share of queries with a right answer among the first places."""
        return sum(1 for place in self._places if place and place <= places) / len(self.answers)

    @property
    def reciprocal_rank(self) -> float:
        """Return the mean of 1 / place; a query without a right answer counts 0."""
        return sum(1 / place for place in self._places if place) / len(self.answers)

    @cached_property
    def _places(self) -> list[int | None]:
        return [answer.place for answer in self.answers]


def read_queries() -> tuple[Query, ...]:
    """Return all queries of the file."""
    kinds = tomllib.loads(QUERIES.read_text("utf-8"))
    return tuple(
        Query(kind, text, tuple(expected))
        for kind, queries in kinds.items()
        for text, expected in queries.items()
    )


def by_kind(answers: Sequence[Answered]) -> dict[str, Score]:
    """Return the score of each kind of query."""
    kinds = dict.fromkeys(answer.query.kind for answer in answers)
    return {kind: Score([a for a in answers if a.query.kind == kind]) for kind in kinds}


def failed(answers: Sequence[Answered]) -> list[Answered]:
    """Return the answers without a right one within the first five."""
    return [answer for answer in answers if not answer.place or answer.place > 5]


def run(database: str, target: str | None, file: Path | None) -> None:
    """Ask all queries with each ranking and print how good the answers are."""
    with _served(database, target) as (address, header):
        found = asyncio.run(_answers(address, header))
    for name in RANKINGS:
        print(_text(name, found[name]) if found[name] else f"{name}: not on this server", "\n")
    if file:
        told = {
            name: [asdict(answer) | {"place": answer.place} for answer in answers]
            for name, answers in found.items()
        }
        file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")


async def _answers(target: str, header: tuple[str, str] | None) -> dict[str, Sequence[Answered]]:
    async with grpc.aio.insecure_channel(target) as channel:
        header = header or await signed_in(channel)
        stub = catalogue_service_pb2_grpc.CatalogueServiceStub(channel)
        return {name: await _ask_all(stub, header, ranking) for name, ranking in RANKINGS.items()}


async def _ask_all(
    stub: catalogue_service_pb2_grpc.CatalogueServiceStub,
    header: tuple[str, str],
    ranking: film_pb2.SearchRanking.ValueType,
) -> Sequence[Answered]:
    """Return the answers, or none where the server has no such ranking."""
    answers = []
    try:
        # The first query by meaning waits until the films are read.
        for query in (read_queries()[0], *read_queries()):
            request = film_pb2.SearchFilmsRequest(query=query.text, page_size=PAGE, ranking=ranking)
            begun = time.perf_counter()
            page = await stub.SearchFilms(request, metadata=(header,), timeout=CALL_SECONDS)
            titles = tuple(match.film.title for match in page.matches)
            answers.append(Answered(query, titles, time.perf_counter() - begun))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return []
        raise
    return answers[1:]


def _text(name: str, answers: Sequence[Answered]) -> str:
    scores = {**by_kind(answers), "in all": Score(answers)}
    rows = [
        (
            kind,
            str(len(score.answers)),
            f"{score.hits(1):.3f}",
            f"{score.hits(5):.3f}",
            f"{score.reciprocal_rank:.3f}",
        )
        for kind, score in scores.items()
    ]
    missed = [
        f'  {answer.query.kind}: "{answer.query.text}" found'
        f" {', '.join(answer.titles[:3]) or 'nothing'}"
        for answer in failed(answers)
    ]
    took = f"median {median(answer.seconds for answer in answers) * 1e3:.1f} ms a query"
    return "\n".join([f"ranking by {name}, {took}", *aligned([_HEAD, *rows]), "no hit@5:", *missed])


@contextmanager
def _served(database: str, target: str | None) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Yield the address of a server over the sample films and what its caller sends, if known."""
    if target:
        yield target, ("authorization", f"Bearer {os.environ[TOKEN_VARIABLE]}")
        return
    with tempfile.TemporaryDirectory(prefix="interview-bench-") as name, ExitStack() as stack:
        folder, settings = Path(name), {}
        if database == "postgresql":
            settings["DATABASE_URL"] = stack.enter_context(fresh_postgres())
        env = environment(folder, **settings)
        prepare(env, folder)
        if database == "postgresql":
            asyncio.run(execute(settings["DATABASE_URL"], "ANALYZE"))
        yield stack.enter_context(running_server(env, folder)).target, None


async def signed_in(channel: grpc.aio.Channel) -> tuple[str, str]:
    """Sign in as the user that calls in benchmarks; return the header of the calls."""
    stub = auth_service_pb2_grpc.AuthServiceStub(channel)
    request = auth_service_pb2.LoginRequest(email=EMAIL, password=PASSWORD)
    answer = await stub.Login(request, timeout=CALL_SECONDS)
    return "authorization", f"Bearer {answer.tokens.access_token}"
