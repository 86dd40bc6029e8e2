"""The names of all settings, and an environment that has none of them."""

from pathlib import Path

import pytest
from pydantic import AliasChoices, SecretStr

from server.settings import Settings


def _names(field: str) -> list[str]:
    alias = Settings.model_fields[field].validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [field]
    return [str(choice).upper() for choice in choices]


SETTING_NAMES = {name for field in Settings.model_fields for name in _names(field)}
SECRET_NAMES = {
    name
    for field, info in Settings.model_fields.items()
    for name in _names(field)
    if info.annotation is SecretStr
}


def without_settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let neither the environment nor an .env of this machine decide."""
    for name in SETTING_NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.chdir(folder)
