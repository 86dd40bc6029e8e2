"""Keys that the database counts up, after rows were inserted with keys of their own."""

import re
from collections.abc import Iterable

from sqlalchemy import Table, func, select, text

from server.database.engine import WriteSession

_DEFAULTS = text(
    "SELECT a.attname, pg_get_expr(d.adbin, d.adrelid) AS expression"
    " FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
    " WHERE d.adrelid = to_regclass(:table)"
)
_NEXTVAL = re.compile(r"nextval\('(.+)'::regclass\)")
_SETVAL = text(
    "SELECT setval(sequence, CAST(:key AS bigint))"
    " FROM CAST(CAST(:sequence AS text) AS regclass) AS sequence"
    " WHERE CAST(:key AS bigint) > coalesce(pg_sequence_last_value(sequence), 0)"
)


async def advance_sequences(write: WriteSession, tables: Iterable[Table]) -> None:
    """Move each key's sequence to the table's greatest key, never back. PostgreSQL only.

    A sequence is found by the column's default: in a database restored from Pagila the
    columns do not own their sequences.
    """
    for table in tables:
        for default in await write.all(_DEFAULTS, {"table": f'"{table.name}"'}):
            sequence = _NEXTVAL.search(default.expression)
            if sequence is None or default.attname not in table.columns:
                continue
            greatest = await write.first(select(func.max(table.columns[default.attname])))
            key = greatest[0] if greatest else None
            if key is not None and key > 0:
                await write.execute(_SETVAL, {"sequence": sequence[1], "key": key})
