"""What may be told when a model's server fails: fixed sentences, none of its own words."""

import re
from datetime import timedelta

from openai import APIConnectionError, APIStatusError, APITimeoutError

from server.core.errors import DomainError

_MAX_RETRY_DELAY = 300
_MAX_LOGGED = 300

_SECRETS = re.compile(r"(?i)\b(sk-|bearer\s+|api[-_]?key\W{1,4}|org-|password\W{1,4})[^\s\"',}]+")

_SENTENCES = {
    400: "the language model's server did not accept the request",
    401: "the language model's server does not accept the configured API key",
    403: "the configured API key may not use this language model",
    404: "the configured language model does not exist on its server",
    429: "the language model is busy or its quota is used up; try again later",
}


class ModelFailure(Exception):
    """A call of the model failed. `status` is the HTTP status or a word for what happened.

    `detail` is for the log only: it may hold the server's words.
    """

    def __init__(
        self,
        status: str,
        sentence: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retryable = retryable
        self.retry_after = retry_after
        self.detail = redacted(detail)

    def as_domain_error(self, model: str) -> DomainError:
        """Return the error that the caller sees."""
        seconds = min(max(self.retry_after or 1.0, 1.0), _MAX_RETRY_DELAY)
        return DomainError(
            self.sentence,
            reason="MODEL_UNAVAILABLE",
            metadata={"model": model, "status": self.status},
            retry_delay=timedelta(seconds=seconds),
        )


def from_status(error: APIStatusError) -> ModelFailure:
    """Return the failure for an HTTP status other than 200."""
    status = error.status_code
    generic = (
        "the language model's server has an error; try again shortly"
        if status >= 500
        else "the language model's server did not accept the request"
    )
    return ModelFailure(
        str(status),
        _SENTENCES.get(status, generic),
        retryable=status >= 500,
        retry_after=_retry_after(error),
        detail=str(error.body or error.message),
    )


def from_connection(error: APIConnectionError) -> ModelFailure:
    """Return the failure for a server that could not be reached or did not answer."""
    if isinstance(error, APITimeoutError):
        return timed_out()
    return ModelFailure(
        "unreachable",
        "the language model's server cannot be reached right now; try again shortly",
        retryable=True,
        detail=repr(error.__cause__ or error),
    )


def timed_out() -> ModelFailure:
    """Return the failure for a model that says nothing for too long."""
    return ModelFailure("timeout", "the language model did not answer in time; try again shortly")


def truncated(detail: str) -> ModelFailure:
    """Return the failure for a reply that ends before its end."""
    return ModelFailure(
        "truncated",
        "the language model's answer was cut off; try again",
        retryable=True,
        detail=detail,
    )


def malformed(detail: str) -> ModelFailure:
    """Return the failure for a reply that is not in the chat completions format."""
    return ModelFailure(
        "malformed",
        "the language model's server did not answer in the chat completions format",
        detail=detail,
    )


def redacted(text: str) -> str:
    """Return the beginning of a text on one line, without what looks like a secret."""
    # Cut after the replacement, so that no half of a secret stays.
    return _SECRETS.sub(r"\1***", " ".join(text.split()))[:_MAX_LOGGED]


def _retry_after(error: APIStatusError) -> float | None:
    try:
        return float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None  # absent, or a date: then our own default holds
