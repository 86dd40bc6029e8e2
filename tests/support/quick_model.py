"""A model behind a scripted server, with short timeouts."""

from collections.abc import Sequence
from contextlib import aclosing
from datetime import timedelta

from server.agent.kernel.openai import ModelTimeouts, OpenAIModel
from server.agent.model_stream import MessageRole, ModelChunk, ModelMessage, ModelRequest
from server.core.errors import DomainError

QUICK = ModelTimeouts(
    connect=timedelta(seconds=1),
    first_token=timedelta(seconds=1),
    between_tokens=timedelta(seconds=0.5),
    retry_pause=timedelta(0),
)
ASKED = ModelRequest([ModelMessage(MessageRole.USER, "Hi")], [], 100)


def quick_model(base_url: str) -> OpenAIModel:
    """Return a model that loses patience soon."""
    return OpenAIModel(
        model="some-model",
        api_key="sk-very-secret",
        base_url=base_url,
        organization="org-ours",
        timeouts=QUICK,
    )


async def read(model: OpenAIModel, request: ModelRequest = ASKED) -> list[ModelChunk]:
    """Return a whole reply."""
    async with aclosing(model.stream(request)) as chunks:
        return [chunk async for chunk in chunks]


async def read_to_error(model: OpenAIModel) -> tuple[str, DomainError]:
    """Return the text of a reply that fails, and its error."""
    texts: list[str] = []
    try:
        async with aclosing(model.stream(ASKED)) as chunks:
            async for chunk in chunks:
                texts.append(chunk.text)  # noqa: PERF401  # what came before the error is wanted
    except DomainError as error:
        return "".join(texts), error
    raise AssertionError(f"no error after {texts}")


def text_of(chunks: Sequence[ModelChunk]) -> str:
    """Return the text of a reply."""
    return "".join(chunk.text for chunk in chunks)
