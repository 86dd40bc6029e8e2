"""What a database's URL may be: refused here, no driver gets to repeat it in an error."""

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

_DRIVERS: Mapping[str, str] = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}
_OPTIONS: Mapping[str, frozenset[str]] = {
    "postgresql+asyncpg": frozenset(
        {"host", "passfile", "port", "prepared_statement_cache_size", "ssl", "target_session_attrs"}
    ),
    "sqlite+aiosqlite": frozenset(),
}
"""Those that the drivers take as the text that a URL holds."""


def database_url(value: str) -> str:
    """Return a URL with the driver that we need; the plain schemes of other tools will do.

    Raises:
        ValueError: it is none of ours; says what it must be, and nothing of what it is.
    """
    scheme, separator, rest = value.partition("://")
    driver = _DRIVERS.get(scheme, scheme)
    if not separator or driver not in _OPTIONS:
        raise ValueError("must begin with postgresql:// or sqlite:///")
    url = f"{driver}://{rest}"
    try:
        parts = urlsplit(url)
        usable = parts.port != 0 and "%" not in (parts.hostname or "")
        options = set(parse_qs(parts.query, keep_blank_values=True))
    except ValueError:
        usable, options = False, set()
    if not usable:
        raise ValueError("must be a URL such as postgresql://user:password@host:5432/name")
    if options - _OPTIONS[driver]:
        known = ", ".join(sorted(_OPTIONS[driver])) or "none"
        raise ValueError(f"has an option that is not known; there are: {known}")
    return url
