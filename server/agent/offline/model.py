"""The rules as a ModelStream."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta

import structlog

from server.agent.model_stream import ModelChunk, ModelFinish, ModelRequest, TokenUsage
from server.agent.offline.gazetteer import Gazetteer
from server.agent.offline.planner import CallTools, decide
from server.catalogue.domain import CatalogueNames

OFFLINE_MODEL = "offline-rules"

_PIECE = re.compile(r"\S+\s*|\s+")

log = structlog.get_logger(__name__)


class OfflineModel:
    """Answers without a language model; see ModelStream.

    Args:
        names: loads every name of the catalogue.
        refresh_after: how old the names may be; a failed refresh keeps the old ones.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        names: Callable[[], Awaitable[CatalogueNames]],
        *,
        refresh_after: timedelta = timedelta(seconds=60),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = names
        self._refresh_after = refresh_after.total_seconds()
        self._clock = clock
        self._loading = asyncio.Lock()
        self._gazetteer: Gazetteer | None = None
        self._loaded_at = 0.0

    @property
    def model(self) -> str:
        """The id that says that no model is at work."""
        return OFFLINE_MODEL

    async def close(self) -> None:
        """Nothing is open."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Yield the reply of the rules, word by word.

        Raises:
            DomainError: the names could not be loaded, in the words of the catalogue.
        """
        gazetteer = await self._current()
        step = decide(request.messages, [tool.name for tool in request.tools], gazetteer)
        usage = TokenUsage(0, 0)
        if isinstance(step, CallTools):
            yield ModelChunk(
                tool_requests=step.requests, usage=usage, finish=ModelFinish.TOOL_CALLS
            )
            return
        for piece in _PIECE.findall(step.text):
            yield ModelChunk(text=piece)
            await asyncio.sleep(0)  # rules need no waiting: others get their turn between words
        yield ModelChunk(usage=usage, finish=ModelFinish.STOP)

    async def _current(self) -> Gazetteer:
        async with self._loading:
            if self._gazetteer is None:
                self._gazetteer = Gazetteer(await self._names())
                self._loaded_at = self._clock()
            elif self._clock() - self._loaded_at >= self._refresh_after:
                self._loaded_at = self._clock()
                try:
                    self._gazetteer = Gazetteer(await self._names())
                except Exception:
                    log.exception("gazetteer_refresh_failed")
            return self._gazetteer
