"""The model behind HTTP: how each failure is told, and how a call is stopped."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from server.agent.kernel.openai import OpenAIModel
from tests.support.fake_openai import (
    DONE,
    Cut,
    FakeOpenAI,
    Pause,
    Raw,
    Status,
    Step,
    answer,
    delta,
    event,
    running_fake_openai,
    words,
)
from tests.support.quick_model import ASKED, quick_model, read, read_to_error, text_of


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenAI]:
    async with running_fake_openai() as running:
        yield running


@pytest.fixture
async def model(server: FakeOpenAI) -> AsyncIterator[OpenAIModel]:
    made = quick_model(server.base_url)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (400, "the language model's server did not accept the request"),
        (401, "the language model's server does not accept the configured API key"),
        (403, "the configured API key may not use this language model"),
        (404, "the configured language model does not exist on its server"),
        (422, "the language model's server did not accept the request"),
        (429, "the language model is busy or its quota is used up; try again later"),
        (500, "the language model's server has an error; try again shortly"),
        (503, "the language model's server has an error; try again shortly"),
    ],
)
async def test_a_status_becomes_a_fixed_sentence(
    model: OpenAIModel, server: FakeOpenAI, status: int, sentence: str
) -> None:
    words = {"message": "Incorrect API key", "code": "invalid_api_key", "type": "Incorrect key"}
    headers = {"x-request-id": "req_0123456789abcdef"}
    server.script_with(lambda _: [Status(status, json.dumps({"error": words}), headers=headers)])
    with capture_logs() as logs:
        _, error = await read_to_error(model)
    assert error.message == sentence
    if status == 429:
        assert (error.reason, error.metadata) == ("RATE_LIMITED", {"bucket": "model"})
    else:
        assert error.reason == "MODEL_UNAVAILABLE"
        assert error.metadata == {"model": "some-model", "status": str(status)}
    assert "Incorrect" not in repr(logs)
    assert logs[-1]["provider_code"] == "invalid_api_key"
    assert logs[-1]["provider_request_id"] == "req_0123456789abcdef"
    # Only a server's own fault is worth a second try at once.
    assert len(server.requests) == (2 if status >= 500 else 1)


async def test_a_busy_server_says_when_to_come_back(model: OpenAIModel, server: FakeOpenAI) -> None:
    server.script([Status(429, "{}", headers={"retry-after": "30"})])
    started = time.perf_counter()
    _, error = await read_to_error(model)
    assert error.retry_delay == timedelta(seconds=30)
    assert time.perf_counter() - started < 5, "the client library slept"


@pytest.mark.parametrize("after", ["soon", "-5", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_strange_retry_after_is_bounded(
    model: OpenAIModel, server: FakeOpenAI, after: str
) -> None:
    server.script([Status(429, "{}", headers={"retry-after": after})])
    _, error = await read_to_error(model)
    assert error.retry_delay is not None
    assert timedelta(seconds=1) <= error.retry_delay <= timedelta(minutes=5)


async def test_a_failure_before_the_first_token_is_tried_once_more(
    model: OpenAIModel, server: FakeOpenAI
) -> None:
    server.script([Status(502, "bad gateway")], answer("Hi"))
    assert text_of(await read(model)) == "Hi"
    server.script([delta({"role": "assistant", "content": ""}), Cut()], answer("Hi again"))
    assert text_of(await read(model)) == "Hi again"


CUTS: dict[str, list[Step]] = {
    "connection": [*words("Hello", " wor"), Cut()],
    "body without [DONE]": words("Hello", " wor"),
    "finish without [DONE]": [*words("Hello", " wor"), delta({}, "stop")],
    "[DONE] without a finish": [*words("Hello", " wor"), DONE],
}


@pytest.mark.parametrize("steps", CUTS.values(), ids=CUTS.keys())
async def test_a_cut_stream_is_an_error_and_never_repeated(
    model: OpenAIModel, server: FakeOpenAI, steps: list[Step]
) -> None:
    server.script(steps, answer("Hello world"))
    text, error = await read_to_error(model)
    assert text == "Hello wor"
    assert error.metadata["status"] == "truncated"
    assert len(server.requests) == 1


MALFORMED: dict[str, list[Step]] = {
    "html": [Raw(b"<html><body>Welcome, sk-very-secret!</body></html>\n")],
    "html without a line end": [Status(200, "<html>Welcome</html>", "text/html")],
    "one json object": [Status(200, '{"choices": []}\n')],
    "broken json": [Raw(b"data: {broken\n\n")],
    "not an object": [Raw(b"data: [1]\n\n")],
    "an error event": [event({"error": {"message": "sk-very-secret is bad"}})],
    "an endless line": [Raw(b"data: " + b"x" * 2_000_000)],
}


@pytest.mark.parametrize("steps", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_body_that_is_no_completion_is_an_error(
    model: OpenAIModel, server: FakeOpenAI, steps: list[Step]
) -> None:
    server.script_with(lambda _: steps)
    with capture_logs() as logs:
        text, error = await read_to_error(model)
    assert text == ""
    assert error.metadata["status"] in {"malformed", "truncated"}
    for word in ("sk-very-secret", "Welcome", "is bad", "xxx"):
        assert word not in repr(logs) + error.message
    assert len(logs[-1]["cause"]) <= 40


_COMMENTS: list[Step] = [Raw(b": waiting\n\n"), Pause(0.05)] * 1000
STALLS: dict[str, tuple[list[Step], str]] = {
    "before the first token": ([Pause(60)], ""),
    "empty pieces only": ([delta({"role": "assistant", "content": ""}), Pause(60)], ""),
    "comments only": (_COMMENTS, ""),
    "after the first token": ([*words("Hel"), Pause(60)], "Hel"),
    "comments after the first token": ([*words("Hel"), *_COMMENTS], "Hel"),
}


@pytest.mark.parametrize(("steps", "text"), STALLS.values(), ids=STALLS.keys())
async def test_silence_is_an_error(
    model: OpenAIModel, server: FakeOpenAI, steps: list[Step], text: str
) -> None:
    server.script(steps)
    started = time.perf_counter()
    said, error = await read_to_error(model)
    assert said == text
    assert error.metadata["status"] == "timeout"
    assert 0.4 < time.perf_counter() - started < 5
    assert len(server.requests) == 1


async def test_slow_tokens_are_no_silence(model: OpenAIModel, server: FakeOpenAI) -> None:
    server.script(answer(*["w "] * 8, pause=0.1))
    assert text_of(await read(model)) == "w " * 8


async def test_a_slow_reader_is_no_slow_model(model: OpenAIModel, server: FakeOpenAI) -> None:
    server.script([*words("a"), Pause(0.05), *answer("b")])
    texts: list[str] = []
    async with aclosing(model.stream(ASKED)) as chunks:
        async for chunk in chunks:
            texts.append(chunk.text)
            await asyncio.sleep(0.7)
    assert "".join(texts) == "ab"


async def test_a_server_that_is_not_there() -> None:
    async with running_fake_openai() as gone:
        base_url = gone.base_url
    model = quick_model(base_url)
    _, error = await read_to_error(model)
    assert error.metadata["status"] == "unreachable"
    await model.close()


@pytest.mark.parametrize("stop", ["close", "cancel"])
async def test_stopping_closes_the_connection_at_once(
    model: OpenAIModel, server: FakeOpenAI, stop: str
) -> None:
    server.script(answer(*["w "] * 1000, pause=0.01))
    started = asyncio.Event()

    async def stop_early() -> None:
        async with aclosing(model.stream(ASKED)) as chunks:
            async for chunk in chunks:
                started.set()
                if stop == "close" and chunk.text:
                    return

    reader = asyncio.create_task(stop_early())
    await started.wait()
    reader.cancel() if stop == "cancel" else None
    await asyncio.wait({reader})
    await asyncio.sleep(0.05)
    assert (server.open_streams, server.aborted_streams) == (0, 1)
