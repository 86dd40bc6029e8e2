"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp.

The client library is used for its transport only. Its own retries are off, as they would
multiply with ours and can sleep for as long as the server says.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from openai import APIConnectionError, APIStatusError, AsyncAPIResponse, AsyncOpenAI, Timeout

from server.agent.kernel.completions import (
    DONE,
    CompletionReader,
    EventStreamReader,
    MalformedStream,
    wire_message,
    wire_tool,
)
from server.agent.kernel.failures import (
    ModelFailure,
    from_connection,
    from_status,
    malformed,
    named_in,
    timed_out,
    truncated,
)
from server.agent.kernel.read_ahead import ReadAhead
from server.agent.model_stream import ModelChunk, ModelRequest
from server.agent.model_watch import ModelWatch

_PROBE_SECONDS = 3.0

OPENAI_URL = "https://api.openai.com/v1"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModelTimeouts:
    """How long to wait for what. Comments and empty pieces do not count as tokens."""

    connect: timedelta = timedelta(seconds=5)
    first_token: timedelta = timedelta(seconds=15)
    between_tokens: timedelta = timedelta(seconds=15)
    retry_pause: timedelta = timedelta(milliseconds=250)


class OpenAIModel:
    """A model behind one HTTP client, which lives as long as the process. See ModelStream."""

    def __init__(
        self,
        *,
        model: str,
        api_key: str,
        base_url: str = OPENAI_URL,
        organization: str | None = None,
        timeouts: ModelTimeouts | None = None,
        jitter: Callable[[], float] = lambda: 1.0,
        watch: ModelWatch | None = None,
    ) -> None:
        self._model = model
        self._watch = watch
        self._timeouts = timeouts or ModelTimeouts()
        self._jitter = jitter
        # OpenAI's newer models refuse the older name; most other servers know only that.
        ours = base_url.rstrip("/") == OPENAI_URL
        self._max_tokens_name = "max_completion_tokens" if ours else "max_tokens"
        longest = max(self._timeouts.first_token, self._timeouts.between_tokens).total_seconds()
        self._client = AsyncOpenAI(
            api_key=api_key,
            base_url=base_url,
            organization=organization,
            max_retries=0,
            timeout=Timeout(longest, connect=self._timeouts.connect.total_seconds()),
        )

    @property
    def model(self) -> str:
        """The model's id."""
        return self._model

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Yield the reply; a call that fails before its first token is made once more."""
        for is_last in (False, True):
            started = False
            try:
                async with aclosing(self._attempt(request)) as chunks:
                    async for chunk in chunks:
                        started = True
                        yield chunk
            except ModelFailure as failure:
                again = failure.retryable and not started and not is_last
                self._log(failure, again=again)
                if not again:
                    self._note(answered=not failure.is_outage)
                    raise failure.as_domain_error(self._model) from None
            else:
                self._note(answered=True)
                return
            await asyncio.sleep(self._timeouts.retry_pause.total_seconds() * self._jitter())

    async def probe(self) -> bool:
        """Tell whether the model's server is there and takes the key. Asks for no answer.

        A server without such a list is there as well.
        """
        try:
            await self._client.models.with_raw_response.list(timeout=_PROBE_SECONDS)
        except APIStatusError as error:
            return error.status_code < 500 and error.status_code not in {401, 403}
        except APIConnectionError:
            return False
        return True

    def _note(self, *, answered: bool) -> None:
        if self._watch is not None:
            self._watch.note(answered=answered)

    async def _attempt(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        now = asyncio.get_running_loop().time
        deadline = now() + self._timeouts.first_token.total_seconds()
        context = self._open(request)
        response = await _within(deadline, context.__aenter__())
        events, reply = EventStreamReader(), CompletionReader()
        try:
            # What follows [DONE] is not waited for: some servers leave the connection open.
            async with ReadAhead(response.http_response.aiter_bytes()) as body:
                done = False
                while not done:
                    arrived = events.feed(await _take(body, deadline))
                    done = DONE in arrived
                    text, progress = reply.feed(arrived[: arrived.index(DONE)] if done else arrived)
                    if text:
                        yield ModelChunk(text=text)
                    if progress:
                        # Taken after the reader had its piece: a slow reader is no slow model.
                        deadline = now() + self._timeouts.between_tokens.total_seconds()
        except MalformedStream as error:
            raise malformed(str(error), named_in(error.told)) from error
        finally:
            await context.__aexit__(None, None, None)
        last = reply.last_chunk()
        if last is None:
            raise truncated("no finish_reason")
        yield last

    def _open(
        self, request: ModelRequest
    ) -> AbstractAsyncContextManager[AsyncAPIResponse[Any], None]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [wire_message(message) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            self._max_tokens_name: request.max_output_tokens,
        }
        if request.tools:
            body["tools"] = [wire_tool(spec) for spec in request.tools]
        create: Any = self._client.chat.completions.with_streaming_response.create
        opened: AbstractAsyncContextManager[AsyncAPIResponse[Any], None] = create(**body)
        return opened

    def _log(self, failure: ModelFailure, *, again: bool) -> None:
        log.warning(
            "model_call_failed",
            model=self._model,
            status=failure.status,
            again=again,
            **failure.facts,
        )


async def _within(deadline: float, opening: Any) -> AsyncAPIResponse[Any]:
    """Wait for the response's head, or raise ModelFailure."""
    try:
        async with asyncio.timeout_at(deadline):
            response: AsyncAPIResponse[Any] = await opening
    except APIStatusError as error:
        raise from_status(error) from error
    except APIConnectionError as error:
        raise from_connection(error) from error
    except TimeoutError as error:
        raise timed_out() from error
    return response


async def _take(body: ReadAhead, deadline: float) -> bytes:
    """Return the bytes that have come, or raise ModelFailure."""
    try:
        return await body.take(deadline)
    except EOFError:
        raise truncated("the stream ended before [DONE]") from None
    except TimeoutError as error:
        raise timed_out() from error
    except Exception as error:
        # The library chooses its HTTP client, whose exceptions are therefore not known here.
        raise truncated(type(error).__name__) from error
