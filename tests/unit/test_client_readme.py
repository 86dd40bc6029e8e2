"""The client's README: its examples run, its table of errors is the truth."""

import ast
import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import grpc
import interview_client
import pytest
from google.protobuf.message import Message
from interview_client import InterviewError, kind_of

from server.generated.interview.agent.v1 import chat_pb2
from server.generated.interview.auth.v1 import auth_service_pb2
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2
from tests.support.scripted_chat import Event, Parrot
from tests.support.scripted_server import Context, Script, connected, fail, info, serving

README = (Path(__file__).parents[2] / "client" / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def block(part: str) -> str:
    """Return the one example that contains the text."""
    (found,) = (one for one in BLOCKS if part in one)
    return str(found)


async def get_film(request: Any, context: Context) -> Message:
    if request.name == "films/999999":
        await fail(
            context,
            grpc.StatusCode.NOT_FOUND,
            "",
            info("RESOURCE_NOT_FOUND", resource_name=request.name),
        )
    return resources_pb2.Film(name=request.name, title="Tremors", release_year=1990)


async def search(request: Any, context: Context) -> Message:
    film = resources_pb2.Film(name="films/3", title="Jurassic Park")
    return film_pb2.SearchFilmsResponse(matches=[film_pb2.FilmMatch(film=film, score=0.75)])


async def list_films(request: Any, context: Context) -> Message:
    films = [resources_pb2.Film(name="films/1")]
    return film_pb2.ListFilmsResponse(
        films=films, next_page_token="" if request.page_token else "t"
    )


async def login(request: Any, context: Context) -> Message:
    tokens = auth_service_pb2.TokenPair(access_token="a", refresh_token="r")
    tokens.refresh_after.seconds = 600
    return auth_service_pb2.LoginResponse(tokens=tokens)


async def test_the_example_of_films_runs_as_it_stands() -> None:
    script = Script(GetFilm=get_film, SearchFilms=search, ListFilms=list_films, Login=login)
    async with serving(script) as target:
        code = block("asyncio.run").replace("127.0.0.1:50051", target)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
    assert process.returncode == 0
    assert printed.decode().splitlines() == [
        "Tremors 1990",
        "0.75 Jurassic Park",
        "1 films, next page: t",
        "1 films, next page: none",
        "RESOURCE_NOT_FOUND films/999999 ",
    ]


class Cancelling(Parrot):
    """Plays the second message's turn as one that is cancelled before it starts."""

    def answers(self, frame: chat_pb2.ChatRequest) -> list[Event]:
        """Leave the turn to the frame that cancels it."""
        if frame.user_message.text.startswith("And which"):
            return []
        return super().answers(frame)


async def test_the_examples_of_a_chat_run_one_after_the_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    opening = block("client.chat()")
    body = opening + "".join(
        f"    {line}" for line in block("chat.half_close()").splitlines(keepends=True)
    )
    code = compile(body, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with connected(Script(Chat=Cancelling())) as client:
        names = {"client": client, "kind_of": kind_of}
        await eval(code, names)  # the flag above makes it a coroutine
    printed = capsys.readouterr().out
    assert "Whichfilmswithdinosaursdoyouhave?sessions/1 9" in printed
    assert printed.endswith("10 turn_cancelled\n")


def test_the_table_of_errors_names_every_class_under_its_parent() -> None:
    named: dict[str, str] = {}
    for row in re.findall(r"^\| (`.*)$", README, re.MULTILINE):
        parents, _, children = row.split("|")[:3]
        for name in re.findall(r"`([A-Z]\w+)`", parents):
            named[name] = "InterviewError"
        for name in re.findall(r"`([A-Z]\w+)`", children):
            named[name] = re.findall(r"`(\w+)`", parents)[0]
    actual = {
        name: value.__base__.__name__
        for name in interview_client.__all__
        if isinstance(value := getattr(interview_client, name), type)
        and issubclass(value, InterviewError)
        and value is not InterviewError
        and value.__base__ is not None
    }
    assert named == actual
