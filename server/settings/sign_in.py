"""Settings of sign-in: keys, passwords and how attempts are slowed."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings


class SignInSettings(BaseSettings):
    """Keys of access tokens, hashes of passwords, lifetimes and limits."""

    signing_keys_file: Path | None = None
    """Private keys that sign access tokens, as `interview-server keys generate` writes them."""
    token_issuer: str = "interview-api"  # noqa: S105  # a name, not a secret
    token_audience: str = "interview-api"  # noqa: S105  # a name, not a secret
    access_token_minutes: Annotated[int, Field(ge=1, le=60)] = 15
    session_days: Annotated[int, Field(ge=1, le=365)] = 30
    refresh_grace_seconds: Annotated[float, Field(ge=0, le=10)] = 10.0
    """How long a repeat of a refresh, known by its request_id, gets an answer; 0: never."""
    password_cost: Annotated[int, Field(ge=4, le=16)] = 12
    password_pepper: SecretStr = SecretStr("")
    """Goes into every hash of a password and is not in the database, nor made from SECRET_KEY."""
    password_pepper_previous: SecretStr = SecretStr("")
    """The one before; a hash with it is replaced at the user's next sign-in."""
    login_failures: Annotated[int, Field(ge=0, le=1000)] = 5
    """Wrong passwords of one account from one address before it has to wait; 0: no limit."""
    login_failures_per_address: Annotated[int, Field(ge=0, le=100_000)] = 50
    """Wrong passwords from one address for any account before it has to wait; 0: no limit."""
    login_lock_seconds: Annotated[float, Field(ge=1, le=86_400)] = 900.0
    """The longest that anybody has to wait for the next attempt."""
    revocation_poll_seconds: Annotated[float, Field(ge=0.1, le=10)] = 5.0
    """How often a process looks for sessions and roles that another one took away."""
