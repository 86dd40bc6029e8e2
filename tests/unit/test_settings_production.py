"""What production demands, and no value that anybody can read in this repository."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from server.settings import SettingsError, load_settings
from tests.support.deployment import ROOT
from tests.support.production import SECRETS, production
from tests.support.settings import without_settings

SHOWN = (
    *("README.md", ".env.example", "compose.yaml", "CONTRIBUTING.md", "Dockerfile", "Makefile"),
    *("docs/**/*.md", "deploy/**/*.yaml", "deploy/**/*.env", "client/*.md"),
)
ASSIGNED = re.compile(
    r"\b(SECRET_KEY|PASSWORD_PEPPER)[ \t]*[:=][ \t]*"
    r"(\$\([^)]*\)|\"[^\"\n]*\"|'[^'\n]*'|[^\s|`]+)(?=[ \t]*$|[ \t]+[A-Z_]+=)",
    re.MULTILINE,
)
"""A name and what it is set to, in YAML, in a shell and in .env; not in a sentence."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


def refusal(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> str:
    """Return what is wrong with settings of production after these changes."""
    for name, value in {**production(folder, "sqlite:///films.db"), **changes}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_what_production_demands_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in production(tmp_path, "sqlite:///films.db").items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.secret_key == SecretStr(SECRETS["SECRET_KEY"])
    assert settings.signing_keys_file == tmp_path / "signing-keys.json"


@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "PASSWORD_PEPPER", "SIGNING_KEYS_FILE", "DATABASE_URL"]
)
def test_each_that_is_missing_is_one_line_that_names_it(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ASVS 13.1.4, 13.3.1: production has secrets of its own, and never falls back."""
    told = refusal(tmp_path, monkeypatch, **{name: ""})
    assert re.fullmatch(rf"{name}: must be set in production[^\n]*", told)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("hunter2", "must have at least 32 bytes"),
        ("f" * 31, "must have at least 32 bytes"),
        ("x" * 64, "must be random in production"),
        ("ab" * 40, "must be random in production"),
        ("$(openssl rand -hex 32)-not-evaluated", "must be random in production"),
        ("fill-in-fill-in-fill-in-fill-in-fill-in", "must be random in production"),
        ("ChangeMe-0123456789-abcdefghijklmnopqrst", "must be random in production"),
        ("an example secret of more than 32 bytes!", "must be random in production"),
        ("seven kettles on a quiet roof, and a lamp", "must be random in production"),
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_shown(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ASVS 11.2.3, 13.3.1: at least 128 bits, which nobody has seen before."""
    told = refusal(tmp_path, monkeypatch, **{name: value})
    assert told.startswith(f"{name}: {said}")
    assert "\n" not in told
    assert value not in told


def test_elsewhere_such_a_secret_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "x" * 32)
    assert load_settings().signing_keys_file is None


def _assigned() -> Iterator[tuple[str, str, str]]:
    """Yield where a secret is set, its name, and its value."""
    for pattern in SHOWN:
        for file in sorted(ROOT.glob(pattern)):
            for name, value in ASSIGNED.findall(file.read_text("utf-8")):
                yield str(file.relative_to(ROOT)), name, value.strip("\"'")


def test_no_value_that_is_written_down_here_starts_production(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ASVS 13.3.1: secrets are not in the source."""
    found = list(_assigned())
    assert {"compose.yaml", "deploy/kubernetes/base/secrets.example.yaml"} <= {
        where for where, _, _ in found
    }
    for where, name, value in found:
        told = refusal(tmp_path, monkeypatch, **{name: value})
        assert told.startswith(f"{name}: must "), (where, value)


def test_all_that_is_missing_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ASVS 13.3.1: no secret of production has a default."""
    names = ("SECRET_KEY", "PASSWORD_PEPPER", "SIGNING_KEYS_FILE", "DATABASE_URL")
    told = refusal(tmp_path, monkeypatch, **dict.fromkeys(names, ""))
    assert [line.partition(":")[0] for line in told.splitlines()] == list(names)


def test_one_secret_is_not_two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = refusal(tmp_path, monkeypatch, PASSWORD_PEPPER=SECRETS["SECRET_KEY"])
    assert told == "PASSWORD_PEPPER: must be another secret than SECRET_KEY"
