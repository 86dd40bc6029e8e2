"""What a server must have before it starts in production."""

import io
from pathlib import Path

from sqlalchemy.engine import make_url

from server.auth import key_commands
from server.auth.keys import EDDSA
from server.core.clock import utc_now

SECRETS = {
    "SECRET_KEY": "0123456789abcdef" * 4,
    "PASSWORD_PEPPER": "fedcba9876543210" * 4,
}


def signing_keys(folder: Path) -> Path:
    """Return a file of signing keys in this folder, made where it is not there."""
    file = folder / "signing-keys.json"
    if not file.exists():
        key_commands.generate(file, EDDSA, clock=utc_now, out=io.StringIO())
    return file


def production(folder: Path, database_url: str) -> dict[str, str]:
    """Return the settings of a server in production, with its keys in this folder."""
    return {
        "ENVIRONMENT": "production",
        "DATABASE_URL": plain_url(database_url),
        "SIGNING_KEYS_FILE": str(signing_keys(folder)),
        **SECRETS,
    }


def plain_url(database_url: str) -> str:
    """Return a URL as an operator writes it, without a driver."""
    url = make_url(database_url)
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)
