"""The server's secret: from the settings, or made once and kept in the data folder."""

import os
import secrets
from pathlib import Path

_BYTES = 32


def server_secret(configured: str, data_dir: Path) -> bytes:
    """Return the secret that keys are derived from. Blocking: reads or writes a file.

    Without SECRET_KEY a random one is made at the first start and kept, readable by its
    owner alone, so that tokens outlive a restart.
    """
    if configured:
        return configured.encode()
    file = data_dir / "secret-key"
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with open(file, "xb", opener=_private) as new:  # Path.open takes no opener
            new.write(secrets.token_hex(_BYTES).encode())
    except FileExistsError:
        pass
    return file.read_bytes()


def _private(path: str, flags: int) -> int:

    return os.open(path, flags, 0o600)
