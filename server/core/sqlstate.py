"""What a database's error says about itself, whatever driver raised it.

PostgreSQL's errors carry an SQLSTATE (ISO/IEC 9075; PostgreSQL's manual, appendix A); SQLite's
only a text.
"""

from typing import Final

_CONFLICTS: Final = frozenset({"40001", "40P01"})
"""serialization_failure, deadlock_detected."""


def sqlstate(error: BaseException | None) -> str:
    """Return the driver's SQLSTATE, empty where there is none."""
    return str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")


def is_conflict(error: BaseException | None) -> bool:
    """Tell whether a transaction was undone because of another one.

    The database itself says that nothing of it stays, so it may be repeated whole; that is
    not known of any other error.
    """
    return sqlstate(error) in _CONFLICTS or "database is locked" in str(error)
