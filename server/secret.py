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
    if not file.exists():
        _make(file)
    return file.read_bytes()


def _make(file: Path) -> None:
    """Make a secret unless another process does so at the same time: there is one for all."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    with open(made, "xb", opener=_private) as new:  # Path.open takes no opener
        new.write(secrets.token_hex(_BYTES).encode())
    try:
        # Under its name it is whole from the first moment on, and the first one stays.
        os.link(made, file)
    except FileExistsError:
        pass
    finally:
        made.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
