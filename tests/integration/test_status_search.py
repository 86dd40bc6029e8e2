"""What a caller is told whose search asks for a ranking that the server does not have."""

from pathlib import Path
from shutil import copy

import pytest
from sqlalchemy import text

from server.database.engine import Database
from server.generated.interview.catalogue.v1 import film_pb2
from tests.support.caller import Caller
from tests.support.running import Running, running_server
from tests.support.statuses import Told, check_call

REQUEST = film_pb2.SearchFilmsRequest(
    query="space", ranking=film_pb2.SEARCH_RANKING_TEXT_AND_MEANING
)


async def _asked(server: Running) -> Told:
    caller = await Caller.signed_in(server)
    return await check_call(server, caller.SearchFilms(REQUEST), "RANKING_UNAVAILABLE")


async def test_a_server_without_the_extra(
    sqlite_templates: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.catalogue_parts.is_installed", lambda: False)
    copy(sqlite_templates["sample"], tmp_path / "test.db")
    async with running_server(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}", tmp_path) as server:
        assert "`semantic`" in (await _asked(server)).message
        caller = await Caller.signed_in(server)
        answer = await caller.SearchFilms(film_pb2.SearchFilmsRequest(query="space"))
        assert answer.matches


async def test_more_films_than_are_ranked_by_meaning(
    running: Running, sample_database_url: str
) -> None:
    database = Database(sample_database_url)
    async with database.write() as write:
        await write.execute(text("UPDATE film_count SET films = 50001 WHERE kind = 'film'"))
    await database.close()
    assert "50000" in (await _asked(running)).message
