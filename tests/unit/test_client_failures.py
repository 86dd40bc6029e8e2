"""What the terminal makes of failed calls: one line that says each thing once."""

from datetime import timedelta
from pathlib import Path

import pytest
from interview_client import (
    InterviewError,
    LoginThrottled,
    PermissionDenied,
    ResourceInUse,
    TokenRevoked,
)
from interview_client.cli.connection import API_KEY, Connection
from interview_client.cli.failures import NOT_SIGNED_IN, explained

DELAY = timedelta(seconds=11.2)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            LoginThrottled("too many; try again at noon", reason="X", retry_delay=DELAY),
            "too many; try again at noon (X); wait 12 s",
        ),
        (
            InterviewError("the server is stopping", reason="X", retry_delay=DELAY),
            "the server is stopping (X); try again in 12 s",
        ),
        (
            PermissionDenied("ask an administrator", reason="PERMISSION_DENIED"),
            "ask an administrator (PERMISSION_DENIED)",
        ),
    ],
)
def test_advice_is_given_once(error: InterviewError, line: str) -> None:
    assert str(explained(error, "here:1")) == line


@pytest.mark.parametrize(
    ("child_type", "hint"),
    [
        ("InventoryItem", "; --force does it all the same"),
        ("Film", "; --force does it all the same"),
        # What is lent out stays, with force too.
        ("Rental", ""),
        ("", ""),
    ],
)
def test_force_is_named_where_it_helps(child_type: str, hint: str) -> None:
    error = ResourceInUse("no", reason="RESOURCE_IN_USE", metadata={"child_type": child_type})
    assert str(explained(error, "here:1")) == f"no (RESOURCE_IN_USE){hint}"


def test_who_calls_with_a_key_is_not_told_to_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection("here:1", tmp_path / "credentials.json")
    error = TokenRevoked("it has ended; sign in again", reason="TOKEN_REVOKED")
    monkeypatch.delenv(API_KEY, raising=False)
    assert connection.explained(error).exit_code == NOT_SIGNED_IN
    monkeypatch.setenv(API_KEY, "ik_secret")
    assert str(connection.explained(error)) == (
        "the API key in INTERVIEW_API_KEY is refused: it has ended (TOKEN_REVOKED);"
        " put another one there, or unset it to call as who signed in"
    )
