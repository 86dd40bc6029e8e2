"""What a request to the model is told by, whatever its end."""

from time import perf_counter
from types import TracebackType
from typing import Self

from server.agent.model_stream import TokenUsage
from server.core.errors import DomainError
from server.core.telemetry import ModelCall, Outcome, Telemetry, outcome_of


class ModelMeter:
    """Tells of one request at the end of its block.

    A reader that is slow makes the request look slow, too: it waits for its reader.
    """

    def __init__(self, telemetry: Telemetry, model: str) -> None:
        self.usage = TokenUsage(0, 0)
        self._telemetry = telemetry
        self._model = model
        self._first_text: float | None = None
        self._started = perf_counter()

    def text_came(self) -> None:
        """Note that a piece of the answer has come."""
        if self._first_text is None:
            self._first_text = perf_counter() - self._started

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        outcome: str = Outcome.OK if kind is None else outcome_of(kind)
        if isinstance(error, DomainError):
            outcome = error.metadata.get("status") or error.reason
        self._telemetry.model_call(
            ModelCall(
                model=self._model,
                seconds=perf_counter() - self._started,
                first_token_seconds=self._first_text,
                input_tokens=self.usage.input_tokens,
                output_tokens=self.usage.output_tokens,
                outcome=outcome,
            )
        )
