"""Names of statements: what is told of a statement instead of its SQL."""

from typing import TypeVar

from sqlalchemy import Executable

S = TypeVar("S", bound=Executable)

_OPTION = "statement"


def named(name: str, statement: S) -> S:
    """Return the statement with a name that it keeps when it is refined.

    Names are written in the code, `noun.verb`, so that there are only so many of them.
    """
    return statement.execution_options(**{_OPTION: name})


def name_of(statement: Executable) -> str:
    """Return the statement's name; `unnamed` for one of a command that runs now and then."""
    name: str = statement.get_execution_options().get(_OPTION, "unnamed")
    return name
