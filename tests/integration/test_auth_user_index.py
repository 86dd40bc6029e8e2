"""How the databases find a page of users."""

from typing import Any

from sqlalchemy import Executable, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement

from server.auth.user_columns import USER_COLUMNS, user_order
from server.auth.user_fields import user_fields
from server.auth.user_reads import page_statement
from server.core.clock import utc_now
from server.core.paging import PageRequest
from server.database.engine import Database
from server.query.filter_types import OrderTerm
from tests.support.crowd import crowd, store


class Explained(Executable, ClauseElement):
    """How the database would run a statement."""

    inherit_cache = False

    def __init__(self, statement: Any) -> None:
        self.statement = statement


@compiles(Explained)
def _explain(element: Explained, compiler: Any, **kwargs: Any) -> str:
    return f"EXPLAIN {compiler.process(element.statement, **kwargs)}"


@compiles(Explained, "sqlite")
def _explain_query_plan(element: Explained, compiler: Any, **kwargs: Any) -> str:
    return f"EXPLAIN QUERY PLAN {compiler.process(element.statement, **kwargs)}"


async def test_a_page_by_address_sorts_nobody(database: Database) -> None:
    now = utc_now()
    await store(database, crowd(now, 10_000))
    if not database.is_sqlite:
        async with database.write() as write:
            await write.execute(text("ANALYZE app_user"))
    for after in (None, ("m@crowd.example",)):
        statement = page_statement(PageRequest(50, after), None, (), show_deleted=False)
        rows = await database.read.all(Explained(statement), {"at": now})
        plan = "\n".join(str(row) for row in rows)
        assert "INDEX" in plan.upper()
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan


def test_every_field_of_the_contract_is_found() -> None:
    """AIP-160, AIP-132: each field to filter or to order by has its column."""
    fields = user_fields()
    assert {path for path, spec in fields.items() if spec.filterable} == {*USER_COLUMNS.fields}
    for path, spec in fields.items():
        if spec.sortable:
            assert user_order([OrderTerm(path)]).clauses(), path
