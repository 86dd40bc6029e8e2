"""The file of signing keys: how it is written, refused, rotated and followed."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.auth import key_commands
from server.auth.key_files import FollowedKeys, KeyFileInvalid, read_ring, replacing, write_new
from server.auth.key_ring import KeyRing, KeyState, new_ring
from server.auth.keys import ALGORITHMS, EDDSA, ES256, new_signing_key
from tests.support.auth import MovableClock
from tests.support.running import capturing_log

Content = dict[str, Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with keys of both algorithms, one of each state."""
    file = tmp_path / "keys.json"
    clock, out = MovableClock(), io.StringIO()
    assert key_commands.generate(file, EDDSA, clock=clock, out=out) == 0
    assert key_commands.rotate(file, ES256, clock=clock, out=out) == 0
    return file


def changed(file: Path, change: Callable[[Content], Any]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def refused(file: Path) -> str:
    with pytest.raises(KeyFileInvalid) as caught:
        read_ring(file)
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_file_holds_a_current_and_a_next_key_for_its_owner_alone(
    algorithm: str, tmp_path: Path
) -> None:
    """ASVS 13.3.1: whoever shares the machine cannot read the keys."""
    file, clock = tmp_path / "keys.json", MovableClock()
    assert key_commands.generate(file, algorithm, clock=clock, out=io.StringIO()) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    ring = read_ring(file)
    assert [one.state for one in ring.keys] == [KeyState.CURRENT, KeyState.NEXT]
    assert {one.key.algorithm for one in ring.keys} == {algorithm}
    assert {one.create_time for one in ring.keys} == {clock.now}


def test_a_file_that_is_there_is_not_overwritten(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(KeyFileInvalid, match="is there already and is not overwritten"):
        key_commands.generate(file, EDDSA, clock=MovableClock(), out=io.StringIO())
    assert file.read_bytes() == before


def test_a_file_of_keys_comes_back_as_it_was(tmp_path: Path) -> None:
    now = MovableClock().now
    ring = new_ring(new_signing_key(EDDSA), new_signing_key(ES256), now)
    ring = ring.rotated(new_signing_key(EDDSA), now)
    write_new(tmp_path / "keys.json", ring)
    assert read_ring(tmp_path / "keys.json") == ring


def test_a_rotation_replaces_the_file_in_one_step_and_keeps_links(
    file: Path, tmp_path: Path
) -> None:
    """ASVS 13.3.1, 15.4.2: there is the old file or the new one, for its owner alone."""
    link = tmp_path / "link.json"
    link.symlink_to(file.name)
    opened_before = file.open()
    before = read_ring(file)
    key_commands.rotate(link, None, clock=MovableClock(), out=io.StringIO())
    after = read_ring(file)
    assert link.is_symlink()
    assert after.current == before.coming
    # Of the kind of the key that signs now: a change of the algorithm goes on.
    assert (after.current.algorithm, after.coming.algorithm) == (ES256, ES256)
    with opened_before:
        assert json.load(opened_before)["keys"][0]["kid"] == before.current.kid
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.json", "link.json"]


def test_two_rotations_at_once_are_one(file: Path) -> None:
    """ASVS 15.4.2."""
    before = file.read_bytes()
    with replacing(file), pytest.raises(KeyFileInvalid, match=r"another command.*keys\.json\.new"):
        key_commands.rotate(file, None, clock=MovableClock(), out=io.StringIO())
    assert file.read_bytes() == before
    assert key_commands.rotate(file, None, clock=MovableClock(), out=io.StringIO()) == 0


def test_a_list_shows_nothing_private(file: Path) -> None:
    """RFC 7517, 9.2."""
    out = io.StringIO()
    assert key_commands.list_all(file, out=out) == 0
    head, *lines = out.getvalue().splitlines()
    assert head.split() == ["KID", "ALGORITHM", "STATE", "CREATED", "SIGNED", "FROM", "RETIRED"]
    kept = json.loads(file.read_text())["keys"]
    for line, one in zip(lines, kept, strict=True):
        assert line.split()[:3] == [one["kid"], one["alg"], one["state"]]
        assert one["create_time"] in line
        assert one["d"] not in out.getvalue()


def _second(content: Content) -> Content:
    second: Content = content["keys"][1]
    return second


WRONG: dict[str, tuple[Callable[[Content], Any], str]] = {
    "no keys": (lambda c: c.clear(), "must be what `interview-server keys generate` writes"),
    "more than keys": (lambda c: c.update(more=1), "must be what `interview-server keys gen"),
    "keys no list": (lambda c: c.update(keys={}), "must be what `interview-server keys generate`"),
    "an empty list": (lambda c: c.update(keys=[]), "must have one current key; it has 0"),
    "a key that is none": (lambda c: c["keys"].append(1), "key 4: must have a state and a create"),
    "no current key": (lambda c: c["keys"].pop(0), "must have one current key; it has 0"),
    "a key twice": (
        lambda c: c["keys"].append(c["keys"][2]),
        "must have each key once",
    ),
    "no state": (lambda c: _second(c).pop("state"), "key 2: must have a state"),
    "another state": (
        lambda c: _second(c).update(state="old"),
        "key 2: state must be one of current, next, retired",
    ),
    "a state that is a list": (lambda c: _second(c).update(state=[]), "key 2: "),
    "no time": (lambda c: _second(c).pop("create_time"), "key 2: must have a state and a create"),
    "another time": (
        lambda c: _second(c).update(create_time="yesterday"),
        "key 2: create_time must be a time of RFC 3339",
    ),
    "a time without a zone": (
        lambda c: _second(c).update(create_time="2026-03-01T12:00:00"),
        "key 2: create_time must have a time zone",
    ),
    "another algorithm": (
        lambda c: _second(c).update(alg="HS256"),
        "key 2: must be a private JWK for EdDSA or ES256",
    ),
    "a private part of another key": (
        lambda c: c["keys"][0].update(d=c["keys"][2]["d"]),
        "key 1: its members do not belong together",
    ),
    "a public key alone": (lambda c: _second(c).pop("d"), "key 2: must be a private JWK"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_line_that_says_what_is_wrong(name: str, file: Path) -> None:
    """RFC 7517, 9.2: the line shows no private part of a key."""
    secrets = [one["d"] for one in json.loads(file.read_text())["keys"]]
    change, said = WRONG[name]
    changed(file, change)
    told = refused(file)
    assert told.startswith(f"SIGNING_KEYS_FILE: {said}")
    assert "\n" not in told
    assert not [secret for secret in secrets if secret in told]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"\xff", b"[" * 60_000, b'{"keys":[],"keys":[]}', b" " * 70_000]
)
def test_a_file_of_something_else_is_refused(text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(text)
    assert re.match(r"SIGNING_KEYS_FILE: must (be what|have at most 65536 bytes)", refused(file))


def test_files_that_cannot_be_reached_are_refused_by_every_command(tmp_path: Path) -> None:
    nowhere, clock, out = tmp_path / "none" / "keys.json", MovableClock(), io.StringIO()
    assert refused(nowhere) == "SIGNING_KEYS_FILE: cannot be read: No such file or directory"
    assert refused(tmp_path) == "SIGNING_KEYS_FILE: cannot be read: Is a directory"
    with pytest.raises(KeyFileInvalid, match="cannot be written: No such file or directory"):
        key_commands.generate(nowhere, EDDSA, clock=clock, out=out)
    with pytest.raises(KeyFileInvalid, match="is not there; `interview-server keys generate`"):
        key_commands.rotate(nowhere, None, clock=clock, out=out)
    assert out.getvalue() == ""


def put(file: Path, content: bytes | None) -> bytes:
    """Write a file or take it away; return what it held."""
    before = file.read_bytes() if file.exists() else b""
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    return before


async def test_a_file_is_followed_and_a_bad_one_changes_nothing(file: Path) -> None:
    """ASVS 9.1.3, 16.2.5: only good keys of the file count, and no log shows them."""
    taken: list[KeyRing] = []
    log, lines = capturing_log()
    followed = FollowedKeys(file, taken.append, log)
    await followed.load()
    first = read_ring(file)
    assert taken == [first]
    await followed.reload()
    assert (taken, lines) == ([first], [])
    good = put(file, b"{")
    for _ in range(4):
        await followed.reload()
    assert taken == [first]
    (line,) = (line.kwargs for line in lines)
    assert line["event"] == "signing keys cannot be read: those from before go on"
    assert (line["level"], line["current_key"]) == ("error", first.current.kid)
    put(file, None)
    for _ in range(3):
        await followed.reload()
    assert (len(taken), len(lines)) == (1, 2)
    put(file, good)
    await followed.reload()
    assert (len(taken), len(lines)) == (1, 2)
    key_commands.rotate(file, None, clock=MovableClock(), out=io.StringIO())
    await followed.reload()
    assert taken == [first, read_ring(file)]
    assert lines[-1].kwargs["event"] == "signing keys changed"
    secrets = [one.key.private_jwk["d"] for ring in taken for one in ring.keys]
    assert not [secret for secret in secrets if secret in repr(lines)]


async def test_a_bad_file_at_the_start_stops_it(tmp_path: Path) -> None:
    """ASVS 9.1.3: no other keys stand in for those of the file."""
    log, _ = capturing_log()
    taken: list[KeyRing] = []
    with pytest.raises(KeyFileInvalid, match="cannot be read"):
        await FollowedKeys(tmp_path / "none", taken.append, log).load()
    assert taken == []
