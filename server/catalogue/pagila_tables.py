"""The tables that this service shares with Pagila."""

import re

from sqlalchemy import Table

import server.catalogue.models
import server.rentals.models  # noqa: F401  # both imports fill Base.metadata
from server.database.base import Base

TABLES: dict[str, Table] = {
    name: Base.metadata.tables[name]
    for name in (
        "actor",
        "address",
        "category",
        "city",
        "country",
        "customer",
        "film",
        "film_actor",
        "film_category",
        "inventory",
        "language",
        "payment",
        "rental",
        "staff",
        "store",
    )
}

OWN_COLUMNS: dict[str, frozenset[str]] = {
    "film": frozenset(
        {"streaming_available", "create_time", "revision", "delete_time", "purge_time"}
    )
}
"""Columns of these tables that Pagila does not have."""

PARENTS: dict[str, frozenset[str]] = {
    name: frozenset(key.column.table.name for key in table.foreign_keys)
    for name, table in TABLES.items()
} | {
    # No foreign keys here, but a restored Pagila has them.
    "payment": frozenset({"customer", "staff", "rental"})
}
"""The tables whose rows a table's rows refer to."""

_PARTITION = re.compile(r"payment_p\d{4}_\d{2}")


def pagila_name(dump_table: str) -> str:
    """Return the table that a dump's table belongs to: Pagila splits payment by month."""
    return "payment" if _PARTITION.fullmatch(dump_table) else dump_table
