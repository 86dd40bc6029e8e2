"""Chats that the server refuses while the client, in a busy process, still writes."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from interview_client import CredentialMissing, InterviewClient, InterviewError

from tests.support.server_process import ServerProcess

CHATS = 60

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("program")]


@asynccontextmanager
async def _busy() -> AsyncIterator[None]:
    """Keep the loop from looking at what comes, again and again, as a loaded process does."""
    over = False

    async def hold() -> None:
        while not over:
            time.sleep(0.01)  # noqa: ASYNC251  # to block is what it is for
            await asyncio.sleep(0)

    holding = asyncio.create_task(hold())
    try:
        yield
    finally:
        over = True
        await holding


async def test_a_refused_chat_says_why_although_its_first_frame_is_on_its_way(
    server: ServerProcess,
) -> None:
    ends: Counter[type[InterviewError]] = Counter()

    async def one(client: InterviewClient) -> None:
        with pytest.raises(InterviewError) as caught:
            async with client.chat():
                pass
        ends[type(caught.value)] += 1

    async with InterviewClient(server.target) as client, _busy():
        for _ in range(CHATS // 10):
            await asyncio.gather(*(one(client) for _ in range(10)))
    assert ends == {CredentialMissing: CHATS}
