"""The handbook's backups, taken and restored as it says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.handbook import commands
from tests.support.program import run, server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

SETTINGS = {"DRAIN_DELAY_SECONDS": "0", "GRACE_SECONDS": "2"}


def test_the_embedded_data_come_back_from_a_backup_of_a_running_server(tmp_path: Path) -> None:
    seeded = run(tmp_path, "seed")
    assert seeded.code == 0, seeded.err
    (backup,) = commands("The embedded data")
    data = tmp_path / "data"
    with server(tmp_path, **SETTINGS) as serving:
        assert serving.is_ready()
        subprocess.run(
            backup.replace(".venv/bin/python", sys.executable),
            shell=True,
            cwd=tmp_path,
            check=True,
            timeout=60,
        )
        assert serving.stop() == 0
    names = ("secret-key", "password-pepper")
    secrets = [(data / name).read_bytes() for name in names]
    shutil.rmtree(data)
    data.mkdir(mode=0o700)
    for name in ("interview.db", *names):
        shutil.copy(tmp_path / "backup" / name, data / name)
    assert [(data / name).read_bytes() for name in names] == secrets
    assert run(tmp_path, "seed").out == "the catalogue holds films already: unchanged\n"
