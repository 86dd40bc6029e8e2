"""What may be told when a model's server fails: fixed sentences, none of its own words.

Those words are not for the log either: they repeat keys, prompts and answers. What is logged
of a failure are names that are chosen from lists.
"""

import re
from collections.abc import Mapping
from datetime import timedelta

from openai import APIConnectionError, APIStatusError, APITimeoutError

from server.core.errors import DomainError, QuotaViolation

_MAX_RETRY_DELAY = 300
_BUSY = "429"
_OF_THE_REQUEST = frozenset({"400", "413", "422", _BUSY})
"""Statuses that say something of this request, or of all of ours together, and not of the model."""

_NAMES = frozenset(
    {
        *("api_error", "authentication_error", "billing_hard_limit_reached", "content_filter"),
        *("content_policy_violation", "context_length_exceeded", "engine_overloaded"),
        *("insufficient_quota", "invalid_api_key", "invalid_request_error", "model_not_found"),
        *("not_found_error", "overloaded_error", "permission_error", "rate_limit_error"),
        *("rate_limit_exceeded", "requests", "server_error", "tokens", "unsupported_parameter"),
        *("unsupported_value", "BadRequestError", "InternalServerError", "NotFoundError"),
    }
)
"""Types and codes of errors, of OpenAI and of servers that speak like it."""
_REQUEST_ID = re.compile(r"(req|chatcmpl)[-_][0-9A-Za-z-]{8,64}|[0-9a-f-]{16,64}")

_SENTENCES = {
    400: "the language model's server did not accept the request",
    401: "the language model's server does not accept the configured API key",
    403: "the configured API key may not use this language model",
    404: "the configured language model does not exist on its server",
    429: "the language model is busy or its quota is used up; try again later",
}


class ModelFailure(Exception):
    """A call of the model failed. `status` is the HTTP status or a word for what happened.

    `facts` are for the log.
    """

    def __init__(
        self,
        status: str,
        sentence: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retryable = retryable
        self.retry_after = retry_after
        self.facts = dict(facts or {})

    @property
    def is_outage(self) -> bool:
        """Whether the next request, whatever it asks, would probably fail as well."""
        return self.status not in _OF_THE_REQUEST

    def as_domain_error(self, model: str) -> DomainError:
        """Return the error that the caller sees."""
        seconds = min(max(self.retry_after or 1.0, 1.0), _MAX_RETRY_DELAY)
        if self.status == _BUSY:
            return DomainError(
                self.sentence,
                reason="RATE_LIMITED",
                metadata={"bucket": "model"},
                quota=QuotaViolation("server", f"what its provider allows of the model {model}"),
                retry_delay=timedelta(seconds=seconds),
            )
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
    request_id = error.response.headers.get("x-request-id", "")
    known = {"provider_request_id": request_id} if _REQUEST_ID.fullmatch(request_id) else {}
    return ModelFailure(
        str(status),
        _SENTENCES.get(status, generic),
        retryable=status >= 500,
        retry_after=_retry_after(error),
        facts=named_in(error.body) | known,
    )


def from_connection(error: APIConnectionError) -> ModelFailure:
    """Return the failure for a server that could not be reached or did not answer."""
    if isinstance(error, APITimeoutError):
        return timed_out()
    return ModelFailure(
        "unreachable",
        "the language model's server cannot be reached right now; try again shortly",
        retryable=True,
        facts={"cause": type(error.__cause__ or error).__name__},
    )


def timed_out() -> ModelFailure:
    """Return the failure for a model that says nothing for too long."""
    return ModelFailure("timeout", "the language model did not answer in time; try again shortly")


def truncated(cause: str) -> ModelFailure:
    """Return the failure for a reply that ends before its end."""
    return ModelFailure(
        "truncated",
        "the language model's answer was cut off; try again",
        retryable=True,
        facts={"cause": cause},
    )


def malformed(cause: str, facts: Mapping[str, str]) -> ModelFailure:
    """Return the failure for a reply that is not in the chat completions format."""
    return ModelFailure(
        "malformed",
        "the language model's server did not answer in the chat completions format",
        facts={"cause": cause, **facts},
    )


def named_in(error: object) -> dict[str, str]:
    """Return the `type` and `code` of an error object where they are known."""
    fields = error if isinstance(error, Mapping) else {}
    values = {f"provider_{key}": fields.get(key) for key in ("type", "code")}
    return {key: value for key, value in values.items() if value in _NAMES}


def _retry_after(error: APIStatusError) -> float | None:
    try:
        return float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None  # absent, or a date: then our own default holds
