"""Settings: the only place that reads the environment and `.env`.

Names without a prefix are those that the deployments of this service have always used.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import SettingsConfigDict

from server.settings.admission import AdmissionSettings
from server.settings.catalogue import CatalogueSettings
from server.settings.connections import ConnectionSettings
from server.settings.database import database_url
from server.settings.sign_in import SignInSettings
from server.settings.telemetry import PRODUCTION_METRICS_PORT, TelemetrySettings
from server.settings.tls import TlsSettings, is_loopback

_MIN_SECRET_BYTES = 32
_MIN_SECRET_CHARACTERS = 8
"""Different ones: whatever is random has more."""
_EXAMPLE = re.compile(r"fill.?in|change.?me|example|openssl|random.?bytes", re.IGNORECASE)
"""What stands where manifests and handbooks leave a secret out; nothing random says it."""


class SettingsError(Exception):
    """A setting is wrong; the text is one line per setting, without its value."""


class Environment(StrEnum):
    """Where the server runs. Production refuses what is only convenient."""

    EMBEDDED = "embedded"
    PRODUCTION = "production"


class Settings(
    ConnectionSettings,
    AdmissionSettings,
    CatalogueSettings,
    SignInSettings,
    TlsSettings,
    TelemetrySettings,
):
    """Every setting with its default. Empty values count as not set."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    environment: Environment = Environment.EMBEDDED
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 50051
    data_dir: Path = Path("data")
    database_url: str = Field("", repr=False)  # it may hold a password
    database_read_connections: Annotated[int, Field(ge=1, le=200)] = 8
    database_write_connections: Annotated[int, Field(ge=1, le=200)] = 4
    secret_key: SecretStr = SecretStr("")
    openai_api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("openai_api_key", "semantic_kernel_api_key"),
    )
    openai_base_url: str = ""
    openai_model: str = "gpt-4o-mini"
    openai_org_id: str = ""
    log_level: str = "INFO"
    log_format: str = "auto"
    debug: bool = False
    debug_mode: bool = False
    debug_port: Annotated[int, Field(ge=1, le=65535)] = 5678
    debug_wait: bool = False
    reflection: bool | None = None
    drain_delay_seconds: Annotated[float, Field(ge=0, le=60)] = 0.5
    grace_seconds: Annotated[float, Field(ge=0, le=300)] = 20.0

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
            raise ValueError("must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return value.upper()

    @field_validator("log_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value not in {"auto", "json", "console"}:
            raise ValueError("must be auto, json or console")
        return value

    @field_validator("database_url")
    @classmethod
    def _async_driver(cls, value: str) -> str:
        return database_url(value) if value else value

    @field_validator("openai_base_url")
    @classmethod
    def _http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value

    @field_validator("secret_key", "password_pepper", "password_pepper_previous")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        secret = value.get_secret_value()
        if secret and len(secret.encode()) < _MIN_SECRET_BYTES:
            raise ValueError(f"must have at least {_MIN_SECRET_BYTES} bytes")
        return value

    @property
    def effective_database_url(self) -> str:
        """The database's URL; the embedded SQLite file where none is set."""
        if self.database_url:
            return self.database_url
        return f"sqlite+aiosqlite:///{self.data_dir.resolve() / 'interview.db'}"

    @property
    def local_address(self) -> str:
        """Where a program on this machine reaches the server."""
        # A server that listens on every address is asked on the loopback one.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # compared
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def effective_log_level(self) -> str:
        """DEBUG lowers the level."""
        return "DEBUG" if self.debug else self.log_level

    @property
    def reflection_served(self) -> bool:
        """Whether callers may ask for the contracts: unless set, everywhere but in production."""
        if self.reflection is None:
            return self.environment is not Environment.PRODUCTION
        return self.reflection

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the metrics, None where there are none."""
        port = self.metrics_port
        if port is None:
            port = PRODUCTION_METRICS_PORT if self.environment is Environment.PRODUCTION else 0
        return (self.metrics_host or self.host, port) if port else None

    @property
    def secret_values(self) -> tuple[str, ...]:
        """What must never be shown, wherever it stands."""
        password = urlsplit(self.database_url).password or ""
        secrets = (
            *(self.secret_key, self.password_pepper, self.password_pepper_previous),
            self.openai_api_key,
        )
        return (*(secret.get_secret_value() for secret in secrets), password, unquote(password))

    @property
    def peppers(self) -> tuple[bytes, ...]:
        """What goes into hashes of passwords: the present one first, then the one before."""
        both = (self.password_pepper, self.password_pepper_previous)
        return tuple(pepper.get_secret_value().encode() for pepper in both if pepper)

    @property
    def model_configured(self) -> bool:
        """Whether a model answers: a key, or a base URL of a server that needs none."""
        return bool(self.openai_api_key.get_secret_value() or self.openai_base_url)

    @property
    def access_token_lifetime(self) -> timedelta:
        """How long an access token is valid."""
        return timedelta(minutes=self.access_token_minutes)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; arguments win over the environment, the environment over `.env`.

    Raises:
        SettingsError: one or more settings are wrong; each is named with what it must be.
    """
    settings = read_settings(**overrides)
    if settings.environment is Environment.PRODUCTION:
        _check_production(settings)
    return settings


def read_settings(**overrides: Any) -> Settings:
    """Read the settings as `load_settings` does, without the rules of production.

    For commands that need neither database nor secret, and make what those rules demand.
    """
    try:
        return Settings(**overrides)
    except UnicodeDecodeError:
        raise SettingsError(".env: must be text in UTF-8") from None
    except ValidationError as error:
        lines = [
            f"{_named(problem['loc'])}{_must(problem['msg'])}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("\n".join(lines)) from None


def _check_production(settings: Settings) -> None:
    secret, pepper = settings.secret_key, settings.password_pepper
    lines = [*_secret_problems("SECRET_KEY", secret), *_secret_problems("PASSWORD_PEPPER", pepper)]
    if pepper == secret and not lines:
        lines.append("PASSWORD_PEPPER: must be another secret than SECRET_KEY")
    if settings.signing_keys_file is None:
        lines.append(
            "SIGNING_KEYS_FILE: must be set in production, to a file that"
            " `interview-server keys generate` has written"
        )
    if not settings.database_url:
        lines.append("DATABASE_URL: must be set in production")
    if lines:
        raise SettingsError("\n".join(lines))


def _secret_problems(name: str, setting: SecretStr) -> Sequence[str]:
    secret = setting.get_secret_value()
    if not secret:
        return [f"{name}: must be set in production (at least 32 random bytes)"]
    # A random secret has no blanks: a sentence does.
    guessable = _EXAMPLE.search(secret) or re.search(r"\s", secret)
    if guessable or len(set(secret)) < _MIN_SECRET_CHARACTERS:
        return [f"{name}: must be random in production; `openssl rand -hex 32` makes one"]
    return []


def check_listening(settings: Settings) -> None:
    """Refuse to let other machines talk to the server in the clear, unless that is wanted.

    Raises:
        SettingsError: HOST is no loopback address, there is no TLS, and nobody allowed it.
    """
    if settings.transport != "plaintext" or settings.allow_plaintext:
        return
    if not is_loopback(settings.host):
        raise SettingsError(
            f"HOST: {settings.host} is open to other machines, and passwords and tokens would"
            " travel in the clear: set TLS_CERTIFICATE_FILE and TLS_PRIVATE_KEY_FILE, or"
            " ALLOW_PLAINTEXT=true where a proxy or a network of your own protects them"
        )


def _named(location: tuple[int | str, ...]) -> str:
    """Return the beginning of a setting's line; rules about several name them themselves."""
    return f"{'.'.join(map(str, location)).upper()}: " if location else ""


def _must(message: str) -> str:
    return message.removeprefix("Value error, ")
