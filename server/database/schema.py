"""Which schemas this program may serve: its own, and later ones whose name allows it.

Revisions are numbered, `NNNN`. One that the program of an older revision may serve as well is
named after the oldest of these: `0004_from_0003`. The name stands in the database, where a
program reads it that does not have the revision itself (docs/decisions/0008).
"""

import re
from collections.abc import Collection

from sqlalchemy import Connection, inspect

_NAME = re.compile(r"(?P<number>\d{4})(_from_(?P<oldest>\d{4}))?")
_OF_ALEMBIC = "alembic_version"
_TABLES_NAMED = 3


class SchemaRefused(Exception):
    """The program will not work on the schema as it is; the text says what to do."""


def number(revision: str) -> int:
    """Return a revision's place in their order.

    Raises:
        ValueError: the name is not of the form `NNNN` or `NNNN_from_NNNN`.
    """
    return _numbers(revision)[0]


def oldest(revision: str) -> int:
    """Return the number of the oldest revision whose program may serve this one.

    Raises:
        ValueError: the name is not of the form `NNNN` or `NNNN_from_NNNN`.
    """
    return _numbers(revision)[1]


def is_later(found: str, known: Collection[str], head: str) -> bool:
    """Tell whether the schema is a later version's, one that this program may serve.

    Raises:
        SchemaRefused: no version of this program made it, or one that this cannot follow.
    """
    if found in known:
        return False
    try:
        unknown = number(found) <= number(head)
    except ValueError:
        unknown = True
    if unknown:
        raise SchemaRefused(
            f"the database is at revision {found!r}, which is none of this program's: DATABASE_URL"
            " must name a database of its own"
        )
    if oldest(found) > number(head):
        raise SchemaRefused(
            f"the database is at revision {found!r} of a later version, and this one, which ends at"
            f" {head!r}, cannot serve it: run the later version, or take the schema back with it"
        )
    return True


def refuse_strangers(connection: Connection) -> None:
    """Make sure that a database without a revision is empty.

    Raises:
        SchemaRefused: it holds tables.
    """
    tables = sorted(set(inspect(connection).get_table_names()) - {_OF_ALEMBIC})
    if tables:
        named = ", ".join(tables[:_TABLES_NAMED]) + (", …" if len(tables) > _TABLES_NAMED else "")
        raise SchemaRefused(
            f"the database holds tables ({named}) that this program did not make: DATABASE_URL must"
            " name an empty database; for a restored Pagila run `interview-server adopt`"
        )


def _numbers(revision: str) -> tuple[int, int]:
    name = _NAME.fullmatch(revision)
    if name is None:
        raise ValueError(f"not the name of a revision: {revision!r}")
    return int(name["number"]), int(name["oldest"] or name["number"])
