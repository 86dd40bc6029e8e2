"""PostgreSQL databases of a run's own."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import asyncpg
from sqlalchemy.engine import make_url

from tests.support.postgres import running_postgres


@contextmanager
def fresh_postgres() -> Iterator[str]:
    """Yield a fresh database of TEST_POSTGRES_URL, or of a server from the embedded wheel."""
    with ExitStack() as stack:
        given = os.environ.get("TEST_POSTGRES_URL")
        server = make_url(given or stack.enter_context(running_postgres()))
        name = f"benchmark_{uuid4().hex}"
        plain = server.set(drivername="postgresql")
        maintenance = plain.render_as_string(hide_password=False)
        asyncio.run(execute(maintenance, f"CREATE DATABASE {name}"))
        drop = f"DROP DATABASE {name} WITH (FORCE)"
        stack.callback(lambda: asyncio.run(execute(maintenance, drop)))
        yield plain.set(database=name).render_as_string(hide_password=False)


async def execute(url: str, statement: str) -> None:
    """Run a statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
