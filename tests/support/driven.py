"""One of everything that a server meets, for what it tells of it afterwards."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.generated.interview.agent.v1 import agent_service_pb2
from server.generated.interview.auth.v1 import auth_service_pb2
from server.generated.interview.catalogue.v1 import film_pb2
from tests.support.caller import Caller
from tests.support.chat_driver import Chat
from tests.support.fake_openai import FakeOpenAI, Status, answer, calls
from tests.support.running import PASSWORD, VIEWER, Running

PLANTED = "zanzibar"
"""Stands in everything that callers, model and database say here."""

_FULL = grpc.StatusCode.RESOURCE_EXHAUSTED

TITLE = f"The {PLANTED} film"

SETTINGS = {"max_chats": 1}
"""What the server must be started with."""


async def drive(running: Running, model: FakeOpenAI, file: Path) -> None:
    """Call every kind of method, well and badly. `file` is the SQLite database."""
    await running.app.agents_ready()
    _plant(file)
    await _sign_in(running)
    await _browse(running)
    await _chat(running, model)
    await _ask(running, model)
    await _break(running, file)


def _plant(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE film SET title = ? WHERE film_id = 1", (TITLE,))
        database.commit()


async def _sign_in(running: Running) -> None:
    nobody = Caller(running)
    login = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD, device_label=PLANTED)
    answered = await nobody.Login(login)
    refresh = auth_service_pb2.RefreshTokenRequest(refresh_token=answered.tokens.refresh_token)
    await nobody.RefreshToken(refresh)
    await _refused(nobody.RefreshToken(refresh))
    wrong = auth_service_pb2.LoginRequest(email=f"{PLANTED}@example.com", password=PLANTED)
    await _refused(nobody.Login(wrong))
    await _refused(nobody.ListFilms(film_pb2.ListFilmsRequest()))
    await _refused(nobody.raw(f"/{PLANTED}.Service/{PLANTED}", b""))


async def _browse(running: Running) -> None:
    viewer = Caller(running, (*await running.sign_in(), ("x-note", PLANTED)))
    found = await viewer.GetFilm(film_pb2.GetFilmRequest(name="films/1"))
    assert found.title == TITLE
    await viewer.ListFilms(film_pb2.ListFilmsRequest(filter=f'title = "{PLANTED}*"'))
    await viewer.SearchFilms(film_pb2.SearchFilmsRequest(query=PLANTED))
    await _refused(viewer.GetFilm(film_pb2.GetFilmRequest(name=f"films/{PLANTED}")))
    await _refused(viewer.GetFilm(film_pb2.GetFilmRequest(name="films/999999")))
    make: Any = health_pb2_grpc.HealthStub
    stub = make(running.channel)
    await stub.Check(health_pb2.HealthCheckRequest())


async def _chat(running: Running, model: FakeOpenAI) -> None:
    """Three turns: with tools, one that the model fails, and one that is given up.

    Beside them a question for which there is no room.
    """
    who = await running.sign_in()
    chat = Chat(running.channel, who)
    await chat.start()
    question = agent_service_pb2.AskRequest(question=PLANTED)
    assert await _refused(Caller(running, who).Ask(question)) is _FULL
    tools = calls(
        ("search_films", f'{{"query": "{PLANTED}"}}'), (f"invented_{PLANTED}", '{"a": 1}')
    )
    model.script(tools, answer(f"I found {PLANTED}."))
    events = await chat.turn(f"Have you seen {PLANTED}?")
    assert events[-1].HasField("turn_completed"), events[-1]
    model.script([Status(500, PLANTED)], [Status(500, PLANTED)])
    events = await chat.turn(f"And {PLANTED}?")
    assert events[-1].HasField("turn_failed"), events[-1]
    model.script(answer(f"{PLANTED} ", "more", pause=5))
    turn = await chat.say(f"Tell more of {PLANTED}")
    await chat.until("turn_started")
    await chat.cancel(turn)
    await chat.until("turn_cancelled")
    await chat.half_close()
    await chat.rest()


async def _ask(running: Running, model: FakeOpenAI) -> None:
    viewer = await Caller.signed_in(running)
    model.script(answer(f"Yes, {PLANTED}."))
    await viewer.Ask(agent_service_pb2.AskRequest(question=f"Is it {PLANTED}?"))


async def _break(running: Running, file: Path) -> None:
    """Run a statement that fails."""
    viewer = await Caller.signed_in(running)
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("ALTER TABLE actor RENAME TO actor_away")
        await _refused(viewer.GetFilm(film_pb2.GetFilmRequest(name="films/2")))
        database.execute("ALTER TABLE actor_away RENAME TO actor")


async def wait_in_vain(running: Running, file: Path) -> None:
    """Ask for a transaction that never begins; takes seconds."""
    viewer = await Caller.signed_in(running)
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        await _refused(viewer.Logout(auth_service_pb2.LogoutRequest()))
        database.execute("ROLLBACK")


async def _refused(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(20):
            await call
    code: grpc.StatusCode = caught.value.code()
    return code
