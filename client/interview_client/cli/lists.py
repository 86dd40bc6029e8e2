"""Lists of the catalogue, as commands show them."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from typing import TypeVar

from interview_client.catalogue import Catalogue

from .connection import Connection
from .output import Column, MessageT, Output

T = TypeVar("T")


def show_list(
    connection: Connection,
    fetch: Callable[[Catalogue], AsyncIterable[MessageT]],
    columns: Sequence[Column[MessageT]],
    output: Output,
    limit: int | None,
) -> None:
    """Write a list, at most `limit` items of it."""

    async def run() -> None:
        async with connection.client() as client:
            await output.items(fetch(client.catalogue), columns, limit=limit)

    asyncio.run(run())


def called(connection: Connection, call: Callable[[Catalogue], Awaitable[T]]) -> T:
    """Return what a call of the catalogue answers."""

    async def run() -> T:
        async with connection.client() as client:
            return await call(client.catalogue)

    return asyncio.run(run())
