"""SQL that SQLite and PostgreSQL spell differently, under one name each.

Statements built with these are constant: made once at import, whatever database answers.
"""

from typing import Any

from sqlalchemy import ColumnElement, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class json_rows(FunctionElement[str]):  # noqa: N801  # reads as the SQL function that it is
    """Aggregate rows of values into the text of one JSON array of arrays.

    The order is that of the subquery below it.
    """

    name = "json_rows"
    type = Text()
    inherit_cache = True


@compiles(json_rows, "postgresql")
def _json_rows_postgresql(element: json_rows, compiler: SQLCompiler, **kwargs: Any) -> str:
    arguments = compiler.process(element.clauses, **kwargs)
    return f"CAST(json_agg(json_build_array({arguments})) AS text)"


@compiles(json_rows, "sqlite")
def _json_rows_sqlite(element: json_rows, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"json_group_array(json_array({compiler.process(element.clauses, **kwargs)}))"


class in_list(FunctionElement[bool]):  # noqa: N801  # reads as the SQL operator that it is
    """`in_list(column, parameter)`: the column is one of a list sent as one parameter.

    The parameter has the type server.database.types.IntegerList, so the statement's text does
    not change with the number of values.
    """

    name = "in_list"
    inherit_cache = True

    def __init__(self, column: ColumnElement[int], values: ColumnElement[Any]) -> None:
        super().__init__(column, values)


@compiles(in_list, "postgresql")
def _in_list_postgresql(element: in_list, compiler: SQLCompiler, **kwargs: Any) -> str:
    column, values = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(in_list, "sqlite")
def _in_list_sqlite(element: in_list, compiler: SQLCompiler, **kwargs: Any) -> str:
    column, values = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608  # compiled parts
