"""Which settings of TLS hold together, and when the server may do without."""

from pathlib import Path

import pytest

from server.settings import SettingsError, check_listening, load_settings
from tests.support.settings import without_settings

ALL = {
    "TLS_CERTIFICATE_FILE": "/tls/tls.crt",
    "TLS_PRIVATE_KEY_FILE": "/tls/tls.key",
    "TLS_CLIENT_CA_FILE": "/tls/ca.crt",
}
TOGETHER = "TLS_CERTIFICATE_FILE and TLS_PRIVATE_KEY_FILE go together"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


def _set(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("names", "transport"),
    [
        ([], "plaintext"),
        (["TLS_CERTIFICATE_FILE", "TLS_PRIVATE_KEY_FILE"], "TLS"),
        (list(ALL), "mTLS"),
    ],
)
def test_the_files_decide_what_the_port_speaks(
    names: list[str], transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, **{name: ALL[name] for name in names})
    assert load_settings().transport == transport


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["TLS_CERTIFICATE_FILE"], TOGETHER),
        (["TLS_PRIVATE_KEY_FILE"], TOGETHER),
        (["TLS_CLIENT_CA_FILE"], "TLS_CLIENT_CA_FILE needs TLS_CERTIFICATE_FILE as well"),
    ],
)
def test_files_that_need_others_are_named_in_one_line(
    names: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, **{name: ALL[name] for name in names})
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert str(error.value) == line


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "localhost"])
def test_within_this_machine_plaintext_is_fine(host: str) -> None:
    check_listening(load_settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "2001:db8::1", "films.example.com"])
def test_beyond_this_machine_it_takes_tls_or_a_decision(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError) as error:
        check_listening(load_settings(host=host))
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"HOST: {host} is open to other machines")
    assert "TLS_CERTIFICATE_FILE" in line
    assert "ALLOW_PLAINTEXT=true" in line
    check_listening(load_settings(host=host, allow_plaintext=True))
    _set(monkeypatch, **ALL)
    check_listening(load_settings(host=host))
