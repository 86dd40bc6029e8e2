"""Insert rows of a dump beside rows that are there already, naming the line that fails."""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, String, Table, insert, select, tuple_
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from server.catalogue.pagila_dump import DumpError
from server.catalogue.pagila_rows import Batch, TypedRow
from server.database.engine import WriteSession

_DRIVER_CLASS = re.compile(r"^<class '[^']*'>: ")

Key = tuple[Any, ...]


class RowStore:
    """Adds rows within one transaction."""

    def __init__(self, write: WriteSession) -> None:
        self._write = write
        self._was_empty: dict[str, bool] = {}

    async def add(self, batch: Batch) -> list[TypedRow]:
        """Insert the rows whose key is not there yet and return them.

        Raises DumpError where a key is there with other values, or where the database
        refuses a row.
        """
        table, rows = batch
        if table.name not in self._was_empty:
            first = await self._write.first(select(*table.primary_key).limit(1))
            self._was_empty[table.name] = first is None
        if not self._was_empty[table.name]:
            rows = await self._without_present(table, rows)
        if rows:
            await self._insert(table, rows)
        return rows

    async def _without_present(self, table: Table, rows: list[TypedRow]) -> list[TypedRow]:
        present = await self._present(table, rows)
        fresh: list[TypedRow] = []
        for row in rows:
            there = present.get(_key(table, row))
            if there is None:
                fresh.append(row)
            elif differing := [name for name, value in row.values.items() if there[name] != value]:
                raise DumpError(
                    row.line,
                    f"{table.name} {_shown_key(table, row)} is in the database already with"
                    f" another {', '.join(differing)}; import into an empty database",
                )
        return fresh

    async def _present(self, table: Table, rows: list[TypedRow]) -> dict[Key, dict[str, Any]]:
        columns = [table.columns[name] for name in rows[0].values]
        key = tuple_(*table.primary_key)
        found = await self._write.all(
            select(*columns).where(key.in_([_key(table, row) for row in rows]))
        )
        present = [
            {
                column.name: _trimmed(column, value)
                for column, value in zip(columns, row, strict=True)
            }
            for row in found
        ]
        return {tuple(row[c.name] for c in table.primary_key): row for row in present}

    async def _insert(self, table: Table, rows: Sequence[TypedRow]) -> None:
        try:
            async with self._write.connection.begin_nested():
                await self._write.execute(insert(table), [row.values for row in rows])
        except (IntegrityError, DataError) as error:
            if len(rows) == 1:
                raise DumpError(rows[0].line, f"{table.name}: {_sentence(error)}") from error
        else:
            return
        # The database does not say which row it was: halve until one is left.
        middle = len(rows) // 2
        await self._insert(table, rows[:middle])
        await self._insert(table, rows[middle:])


def _key(table: Table, row: TypedRow) -> Key:
    return tuple(row.values[column.name] for column in table.primary_key)


def _shown_key(table: Table, row: TypedRow) -> str:
    return ", ".join(str(value) for value in _key(table, row))


def _trimmed(column: Column[Any], value: Any) -> Any:
    """Drop the blanks that a restored Pagila pads its character(n) columns with."""
    padded = isinstance(column.type, String) and column.type.length and isinstance(value, str)
    return value.rstrip(" ") if padded else value


def _sentence(error: DBAPIError) -> str:
    """Return what the database says, without the driver's class name and further lines."""
    return _DRIVER_CLASS.sub("", str(error.orig)).splitlines()[0]
