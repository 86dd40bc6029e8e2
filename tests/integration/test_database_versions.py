"""What a program does with a schema that is not its own: serve it, or leave it alone."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from server.database import migrate
from server.database.engine import Database
from server.database.schema import SchemaRefused
from tests.support.later_version import later_migrations

FOLLOWS = "9000_from_0002"
BREAKS = "9000"


@contextmanager
def _later_version(folder: Path, revision: str) -> Iterator[None]:
    """Be the later version for the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "MIGRATIONS", later_migrations(folder, revision))
        yield


async def test_an_old_version_serves_a_later_schema_that_names_it(
    database_url: str, tmp_path: Path
) -> None:
    with _later_version(tmp_path, FOLLOWS):
        await migrate.upgrade(database_url)
    assert await migrate.verify(database_url) == FOLLOWS
    await migrate.upgrade(database_url)
    assert await migrate.current_revision(database_url) == FOLLOWS
    with pytest.raises(SchemaRefused, match="which alone can take it back"):
        await migrate.downgrade(database_url, "0001")
    assert await migrate.current_revision(database_url) == FOLLOWS


async def test_the_later_version_takes_the_schema_back_for_the_old_one(
    sample_database_url: str, tmp_path: Path
) -> None:
    before = migrate.head_revision()
    with _later_version(tmp_path, BREAKS):
        await migrate.upgrade(sample_database_url)
        assert await migrate.verify(sample_database_url) == BREAKS
        await migrate.downgrade(sample_database_url, before)
    assert await migrate.verify(sample_database_url) == before
    assert await _count(sample_database_url, "film") > 250


@pytest.mark.parametrize(
    ("revision", "said"),
    [(BREAKS, "of a later version, and this one"), ("5f3c2a", "none of this program's")],
)
async def test_a_schema_that_this_version_cannot_serve_is_left_alone(
    database_url: str, revision: str, said: str
) -> None:
    await _execute(database_url, f"UPDATE alembic_version SET version_num = '{revision}'")
    for attempt in (
        migrate.upgrade(database_url),
        migrate.verify(database_url),
        migrate.downgrade(database_url, "base"),
    ):
        with pytest.raises(SchemaRefused, match=said):
            await attempt
    assert await migrate.current_revision(database_url) == revision
    assert await _count(database_url, "film") == 0


async def test_two_revisions_at_once_are_none_of_ours(database_url: str) -> None:
    await _execute(database_url, "INSERT INTO alembic_version VALUES ('0001')")
    with pytest.raises(SchemaRefused, match="none of this program's"):
        await migrate.upgrade(database_url)


async def test_tables_of_somebody_else_are_left_alone(empty_database_url: str) -> None:
    await _execute(empty_database_url, "CREATE TABLE invoices (id integer PRIMARY KEY)")
    for attempt in (migrate.upgrade(empty_database_url), migrate.verify(empty_database_url)):
        with pytest.raises(SchemaRefused, match=r"holds tables \(invoices\) that this program"):
            await attempt
    await _execute(empty_database_url, "DROP TABLE invoices")
    await migrate.upgrade(empty_database_url)


async def test_a_database_that_was_taken_back_to_nothing_can_be_migrated_again(
    database_url: str,
) -> None:
    await migrate.downgrade(database_url, "base")
    with pytest.raises(SchemaRefused, match="is at nothing, this version needs"):
        await migrate.verify(database_url)
    await migrate.upgrade(database_url)
    assert await migrate.verify(database_url) == migrate.head_revision()


@pytest.mark.parametrize("revision", ["8000", "nonsense"])
async def test_a_target_that_does_not_exist_is_named(database_url: str, revision: str) -> None:
    for attempt in (
        migrate.upgrade(database_url, revision),
        migrate.downgrade(database_url, revision),
    ):
        with pytest.raises(SchemaRefused, match=revision):
            await attempt


async def test_a_migration_that_was_killed_in_the_middle_leaves_nothing_in_the_way(
    database_url: str, tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    wait = f"__import__('pathlib').Path({str(changed)!r}).touch(); __import__('time').sleep(600)"
    migrations = later_migrations(tmp_path, FOLLOWS, then=wait)
    holder = _migrating(database_url, migrations)
    try:
        await _until(changed.exists, holder)
        waiting = asyncio.create_task(migrate.upgrade(database_url))
        await asyncio.sleep(0.5)
        assert not waiting.done(), "the killed one did not hold the lock"
        holder.send_signal(signal.SIGKILL)
        await asyncio.wait_for(waiting, 30)
    finally:
        holder.kill()
        holder.wait()
    assert await migrate.verify(database_url) == migrate.head_revision()
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "again").mkdir()
        patch.setattr(migrate, "MIGRATIONS", later_migrations(tmp_path / "again", FOLLOWS))
        await asyncio.wait_for(migrate.upgrade(database_url), 30)
    assert await migrate.current_revision(database_url) == FOLLOWS


async def test_a_table_in_use_is_not_waited_for_while_callers_queue(
    postgresql_url: str,
) -> None:
    await migrate.upgrade(postgresql_url, "0001")
    engine = create_async_engine(postgresql_url)
    async with engine.connect() as backup:
        await backup.execute(text("SELECT count(*) FROM film"))
        with pytest.raises(SchemaRefused, match="a backup or a long transaction"):
            await asyncio.wait_for(migrate.upgrade(postgresql_url), 30)
    await engine.dispose()
    assert await migrate.current_revision(postgresql_url) == "0001"
    await migrate.upgrade(postgresql_url)


def _migrating(url: str, migrations: Path) -> "subprocess.Popen[bytes]":
    script = (
        "import asyncio, pathlib\n"
        "from server.database import migrate\n"
        f"migrate.MIGRATIONS = pathlib.Path({str(migrations)!r})\n"
        f"asyncio.run(migrate.upgrade({url!r}))\n"
    )
    return subprocess.Popen([sys.executable, "-c", script])


async def _until(condition: object, process: "subprocess.Popen[bytes]") -> None:
    assert callable(condition)
    end = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, "the migration ended by itself"
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def _execute(url: str, statement: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


async def _count(url: str, table: str) -> int:
    database = Database(url)
    try:
        row = await database.read.first(text(f"SELECT count(*) FROM {table}"))
        assert row is not None
        return int(row[0])
    finally:
        await database.close()
