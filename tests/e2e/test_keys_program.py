"""`interview-server keys`, and a server whose keys are missing, as an operator meets them."""

import json
from pathlib import Path

import pytest

from tests.support.production import production
from tests.support.program import run

pytestmark = pytest.mark.e2e


def test_keys_are_made_rotated_and_listed_before_there_is_a_database(tmp_path: Path) -> None:
    """ASVS 13.3.1: keys are made and rotated in their file, and their private part is not shown."""
    # The rules of production demand this file and a database: it must be makeable without.
    settings = {"ENVIRONMENT": "production", "SIGNING_KEYS_FILE": "keys.json"}
    made = run(tmp_path, "keys", "generate", "--algorithm=ES256", **settings)
    assert (made.code, made.err) == (0, "")
    again = run(tmp_path, "keys", "generate", **settings)
    assert (again.code, again.out) == (1, "")
    assert again.err == (
        "error: SIGNING_KEYS_FILE: keys.json is there already and is not overwritten;"
        " see `keys rotate`\n"
    )
    rotated = run(tmp_path, "keys", "rotate", "--file=keys.json", "--algorithm=EdDSA")
    assert (rotated.code, rotated.err) == (0, "")
    listed = run(tmp_path, "keys", "list", **settings)
    assert (listed.code, listed.out) == (0, rotated.out)
    _, *lines = listed.out.splitlines()
    assert [line.split()[1:3] for line in lines] == [
        ["ES256", "current"],
        ["EdDSA", "next"],
        ["ES256", "retired"],
    ]
    kept = json.loads((tmp_path / "keys.json").read_text())["keys"]
    assert not [one["d"] for one in kept if one["d"] in listed.out + rotated.out + made.out]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.json"]


def test_without_a_file_the_command_says_how_to_name_one(tmp_path: Path) -> None:
    done = run(tmp_path, "keys", "list")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: SIGNING_KEYS_FILE: must be set, or the file given as --file FILE\n"


def test_a_server_whose_keys_cannot_be_read_does_not_start(tmp_path: Path) -> None:
    """ASVS 13.3.1: there are no keys but those that operators manage."""
    settings = production(tmp_path, f"sqlite:///{tmp_path / 'films.db'}")
    settings["SIGNING_KEYS_FILE"] = str(tmp_path / "none.json")
    assert run(tmp_path, "migrate", **settings).code == 0
    done = run(tmp_path, "serve", **settings)
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert last == "error: SIGNING_KEYS_FILE: cannot be read: No such file or directory"
