"""The server's secrets: from the settings, or made once and kept in the data folder."""

import os
import secrets
from pathlib import Path

_BYTES = 32


def server_secret(configured: str, data_dir: Path) -> bytes:
    """Return the secret that keys are derived from, SECRET_KEY. Blocking.

    Where it is kept, tokens outlive a restart.
    """
    return _kept(configured, data_dir / "secret-key")


def password_pepper(configured: str, data_dir: Path) -> bytes:
    """Return what goes into the hashes of passwords, PASSWORD_PEPPER. Blocking.

    It has nothing to do with the secret: that can be changed, and everybody's password still fits.
    """
    return _kept(configured, data_dir / "password-pepper")


def _kept(configured: str, file: Path) -> bytes:
    """Return what is configured; else a random one, made at the first start and kept.

    The file is readable by its owner alone.
    """
    if configured:
        return configured.encode()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with open(file, "xb", opener=_private) as new:  # Path.open takes no opener
            new.write(secrets.token_hex(_BYTES).encode())
    except FileExistsError:
        pass
    return file.read_bytes()


def _private(path: str, flags: int) -> int:

    return os.open(path, flags, 0o600)
