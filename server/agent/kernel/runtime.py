"""Semantic Kernel's runtime, made to stop and to report.

One per turn: a shared one keeps every agent ever registered and gets slower with each turn.
Private attributes of InProcessRuntime are used here and nowhere else; a test holds each.
"""

import asyncio
from typing import Any

from semantic_kernel.agents.orchestration.orchestration_base import OrchestrationResult
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.agents.runtime.in_process.in_process_runtime import PublishMessageEnvelope


class TurnRuntime(InProcessRuntime):
    """Runs one orchestration."""

    def __init__(self) -> None:
        super().__init__(ignore_unhandled_exceptions=False)
        self._result: OrchestrationResult[Any] | None = None

    def report_to(self, result: OrchestrationResult[Any]) -> None:
        """Say where the orchestration waits for its end."""
        self._result = result

    async def abort(self) -> None:
        """Cancel all that runs and wait for it. Nothing runs afterwards.

        The runtime's own stop() and close() leave handlers, and so the model's HTTP stream,
        running.
        """
        while running := self._running():
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    def _running(self) -> set[asyncio.Task[Any]]:
        tasks = set(self._background_tasks)
        if self._run_context is not None:
            tasks.add(self._run_context._run_task)  # noqa: SLF001  # stop() would wait for handlers
        if self._result is not None and self._result.background_task is not None:
            tasks.add(self._result.background_task)
        return {task for task in tasks if not task.done()}

    async def _process_publish(self, message_envelope: PublishMessageEnvelope) -> None:
        """Handle a published message; what its handler raises ends the orchestration.

        The base class keeps the exception until the next message, which after a failure never
        comes: whoever waits for the result would wait for ever.
        """
        await super()._process_publish(message_envelope)
        if self._background_exception is not None and self._result is not None:
            if self._result.exception is None:
                self._result.exception = self._background_exception
            self._result.event.set()
