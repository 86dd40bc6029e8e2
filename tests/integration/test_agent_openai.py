"""The model behind HTTP: what is sent, and how a stream is read."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from server.agent.kernel.completions import EventStreamReader, MalformedStream
from server.agent.kernel.openai import OpenAIModel
from server.agent.model_stream import (
    MessageRole,
    ModelChunk,
    ModelFinish,
    ModelMessage,
    ModelRequest,
    TokenUsage,
    ToolRequest,
    ToolSpec,
)
from tests.support.fake_openai import (
    DONE,
    FakeOpenAI,
    Raw,
    answer,
    calls,
    delta,
    running_fake_openai,
    usage,
    words,
)
from tests.support.quick_model import quick_model, read, text_of


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenAI]:
    async with running_fake_openai() as running:
        yield running


@pytest.fixture
async def model(server: FakeOpenAI) -> AsyncIterator[OpenAIModel]:
    made = quick_model(server.base_url)
    yield made
    await made.close()


async def test_the_request(model: OpenAIModel, server: FakeOpenAI) -> None:
    server.script(answer("ok"))
    lookup = ToolRequest("call_1", "search_films", '{"query": "x"}')
    messages = [
        ModelMessage(MessageRole.SYSTEM, "Be brief."),
        ModelMessage(MessageRole.USER, "Hi"),
        ModelMessage(MessageRole.ASSISTANT, tool_requests=(lookup,)),
        ModelMessage(MessageRole.TOOL, "{}", call_id="call_1"),
    ]
    spec = ToolSpec("search_films", "Find films.", {"type": "object", "properties": {}})
    await read(model, ModelRequest(messages, [spec], 77))
    headers = server.headers[0]
    assert headers["authorization"] == "Bearer sk-very-secret"
    assert headers["openai-organization"] == "org-ours"
    assert server.requests[0] == {
        "model": "some-model",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 77,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "search_films", "arguments": '{"query": "x"}'},
                    }
                ],
            },
            {"role": "tool", "content": "{}", "tool_call_id": "call_1"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "search_films",
                    "description": "Find films.",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
    }


async def test_text_usage_and_finish(model: OpenAIModel, server: FakeOpenAI) -> None:
    server.script([*words("Hel", "lo"), delta({}, "stop"), usage(30, 7, 20), DONE])
    chunks = await read(model)
    assert text_of(chunks) == "Hello"
    assert chunks[-1] == ModelChunk(usage=TokenUsage(30, 7, 20), finish=ModelFinish.STOP)
    assert [chunk.finish for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def test_usage_may_be_missing(model: OpenAIModel, server: FakeOpenAI) -> None:
    server.script([*words("Hi"), delta({}, "stop"), DONE])
    assert (await read(model))[-1] == ModelChunk(finish=ModelFinish.STOP)


async def test_many_tokens_in_one_read_are_one_piece(
    model: OpenAIModel, server: FakeOpenAI
) -> None:
    tokens = [step.data for step in words(*["w "] * 500) if isinstance(step, Raw)]
    server.script([Raw(b"".join(tokens)), delta({}, "stop"), DONE])
    chunks = await read(model)
    assert text_of(chunks) == "w " * 500
    assert len(chunks) < 20


async def test_two_calls_whose_arguments_come_in_pieces(
    model: OpenAIModel, server: FakeOpenAI
) -> None:
    server.script(calls(("a", '{"query": "x"}'), ("b", '{"limit": 3}'), pieces=6))
    last = (await read(model))[-1]
    assert last.finish is ModelFinish.TOOL_CALLS
    assert last.tool_requests == (
        ToolRequest("model_0", "a", '{"query": "x"}'),
        ToolRequest("model_1", "b", '{"limit": 3}'),
    )


@pytest.mark.parametrize("index", [{}, {"index": 0}], ids=["no index", "always 0"])
async def test_calls_of_servers_that_do_not_count(
    model: OpenAIModel, server: FakeOpenAI, index: dict[str, int]
) -> None:
    parts = [
        {"id": f"c{n}", **index, "function": {"name": f"tool{n}", "arguments": "{}"}}
        for n in range(2)
    ]
    server.script([*[delta({"tool_calls": [part]}) for part in parts], delta({}, "stop"), DONE])
    last = (await read(model))[-1]
    assert [request.name for request in last.tool_requests] == ["tool0", "tool1"]


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("length", ModelFinish.LENGTH),
        ("content_filter", ModelFinish.CONTENT_FILTER),
        ("function_call", ModelFinish.TOOL_CALLS),
    ],
)
async def test_every_way_to_finish(
    model: OpenAIModel, server: FakeOpenAI, said: str, finish: ModelFinish
) -> None:
    server.script([*words("Hi"), delta({}, said), DONE])
    assert (await read(model))[-1].finish is finish


async def test_the_end_of_the_body_is_not_waited_for(
    model: OpenAIModel, server: FakeOpenAI
) -> None:
    server.hang_after_done = True
    server.script(answer("Hi"))
    async with asyncio.timeout(5):
        assert text_of(await read(model)) == "Hi"


async def test_one_connection_serves_many_calls(model: OpenAIModel, server: FakeOpenAI) -> None:
    server.script_with(lambda _: answer("Hi"))
    for _ in range(5):
        await read(model)
    assert server.connections == 1


# The reader of event streams


def _any_cut(data: bytes, size: int) -> list[bytes]:
    reader = EventStreamReader()
    found: list[bytes] = []
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_events_are_found_however_the_bytes_are_cut(size: int, line_end: bytes) -> None:
    lines = [b": hi", b"event: message", b'data: {"a": 1}', b"", b"data:[DONE]", b"", b""]
    assert _any_cut(line_end.join(lines), size) == [b'{"a": 1}', b"[DONE]"]


@pytest.mark.parametrize(
    "feed", [lambda r: r.feed(b"<html>\n"), lambda r: r.feed(b"x" * 1_100_000)]
)
def test_what_is_no_event_stream_is_refused(feed: Callable[[EventStreamReader], object]) -> None:
    with pytest.raises(MalformedStream):
        feed(EventStreamReader())
