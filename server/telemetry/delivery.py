"""Sends spans, and says seldom that it cannot."""

import logging
from collections.abc import Sequence
from threading import Lock
from time import monotonic

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.typing import FilteringBoundLogger

SILENCE_SECONDS = 300.0
"""Between two lines about spans that were lost."""


class Delivery(SpanExporter):
    """An exporter whose failures are one line now and then, with the number of spans lost.

    The library's own lines come with each batch and each attempt; they are switched off.
    """

    def __init__(self, exporter: SpanExporter, log: FilteringBoundLogger) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = exporter
        self._log = log
        self._lost = 0
        self._next_line = 0.0
        self._aborting = Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; called by one thread at a time, never by the event loop's."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            if monotonic() >= self._next_line:
                self._next_line = monotonic() + SILENCE_SECONDS
                self._log.warning("traces are not taken by their receiver", lost=self._lost)
                self._lost = 0
        return result

    def abort(self) -> None:
        """Give up what is being sent, so that `export` returns soon."""
        if self._aborting.acquire(blocking=False):
            self._exporter.shutdown()

    def shutdown(self) -> None:
        """Close the connection."""
        self.abort()
