"""What a whole server lets out: statuses, log, banner and metrics, searched for what it was told.

The server is a process of its own, at LOG_LEVEL=DEBUG. Everything that it is told, in requests
and metadata, by the model's server and by the database's errors, has the word PLANTED in it.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from sqlite3 import connect
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from sqlalchemy.engine import make_url

from server.app import AGENT, AUTH, CATALOGUE
from server.generated.interview.agent.v1 import agent_service_pb2, agent_service_pb2_grpc
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.chat_driver import Chat
from tests.support.databases import execute, postgres_copy
from tests.support.fake_openai import (
    DONE,
    Cut,
    FakeOpenAI,
    Raw,
    Status,
    Step,
    answer,
    calls,
    running_fake_openai,
    words,
)
from tests.support.planting import OWN, PLANTED, planted_messages
from tests.support.raw_http2 import grpc_headers, message, raw_connection
from tests.support.server_process import ServerProcess, free_port, run_program, serving

SECRETS = {
    "SECRET_KEY": f"{PLANTED} secret key of more than 32 bytes",
    "OPENAI_API_KEY": f"{PLANTED}-model-key",
    "OPENAI_ORG_ID": f"{PLANTED}-organization",
}
CODES = {code.value[0]: code.name for code in grpc.StatusCode}
BODY = json.dumps({"error": {"message": PLANTED, "type": PLANTED, "code": f"{PLANTED} code"}})
REPLIES: list[list[Step]] = [
    [Status(401, BODY, headers={"x-request-id": f"{PLANTED} id"})],
    [Status(429, BODY, headers={"retry-after": PLANTED})],
    [Status(500, BODY)],
    [Status(200, f"<html>{PLANTED}</html>", "text/html")],
    [*words(f"{PLANTED} "), Cut()],
    [Raw(b"data: " + BODY.encode() + b"\n\n"), DONE],
    [Raw(f"data: {{{PLANTED}\n\n".encode()), DONE],
    calls((PLANTED, f'{{"{PLANTED}": "{PLANTED}"}}'), ("search_films", f'{{"{PLANTED}": 1}}')),
    calls(("search_films", f'{{"query": "{PLANTED}"}}'), ("search_films", f"{PLANTED}")),
]


@dataclass
class Spy:
    """A client that keeps whatever a failing call tells."""

    server: ServerProcess
    channel: grpc.aio.Channel
    heard: list[str] = field(default_factory=list)
    codes: set[grpc.StatusCode] = field(default_factory=set)
    tokens: list[str] = field(default_factory=list)

    async def listen(self, call: Any) -> None:
        """Wait for a call's end, and keep what it tells unless it ends well."""
        try:
            async with asyncio.timeout(30):
                if hasattr(call, "read"):
                    while await call.read() is not grpc.aio.EOF:
                        pass
                else:
                    await call
        except grpc.aio.AioRpcError as error:
            self.codes.add(error.code())
            self.heard.append(f"{error!r} {error.trailing_metadata()} {error.initial_metadata()}")

    async def sign_in(self) -> tuple[tuple[str, str], ...]:
        """Sign in well and return the credential."""
        account = self.server.viewer
        stub = auth_service_pb2_grpc.AuthServiceStub(self.channel)
        request = auth_service_pb2.LoginRequest(
            email=account.email, password=account.password, device_label=f"{PLANTED} device"
        )
        tokens = (await stub.Login(request)).tokens
        self.tokens += [tokens.access_token, tokens.refresh_token]
        return (("authorization", f"Bearer {tokens.access_token}"), ("x-note", PLANTED))


@asynccontextmanager
async def _spying(server: ServerProcess) -> AsyncIterator[Spy]:
    options = (("grpc.primary_user_agent", PLANTED),)
    async with grpc.aio.insecure_channel(server.target, options=options) as channel:
        yield Spy(server, channel)


async def _call_everything(spy: Spy) -> None:
    """Call every method with every text field planted, with each kind of credential."""
    good = await spy.sign_in()
    bad = (("authorization", f"Bearer {PLANTED}.{PLANTED}.{PLANTED}"), ("x-bin", b"planted"))
    methods = [method for service in (AUTH, CATALOGUE, AGENT) for method in service.methods]
    for method in methods:
        for request in planted_messages(method.input_type):
            for metadata in ((), bad, good):
                await spy.listen(_start(spy.channel, method, request, metadata))
    health, reflection = "/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/"
    check = health_pb2.HealthCheckRequest(service=OWN)
    symbol = reflection_pb2.ServerReflectionRequest(file_containing_symbol=PLANTED)
    for path, request in ((f"{health}Check", check), (f"{reflection}{PLANTED}", symbol)):
        call: Any = spy.channel.unary_unary(path)
        await spy.listen(call(request.SerializeToString(), timeout=5))


def _start(
    channel: grpc.aio.Channel, method: MethodDescriptor, request: Message, metadata: Any
) -> Any:
    path = f"/{method.containing_service.full_name}/{method.name}"
    raw = request.SerializeToString()
    call: Any
    if method.client_streaming:
        call = channel.stream_stream(path)
        return call(iter([raw, raw]), metadata=metadata, timeout=20)
    call = channel.unary_stream(path) if method.server_streaming else channel.unary_unary(path)
    return call(raw, metadata=metadata, timeout=20)


async def _use_it_well(spy: Spy, model: FakeOpenAI) -> None:
    """Sign in, browse and chat; what is said is planted."""
    who = await spy.sign_in()
    films = catalogue_service_pb2_grpc.CatalogueServiceStub(spy.channel)
    agents = agent_service_pb2_grpc.AgentServiceStub(spy.channel)
    auth = auth_service_pb2_grpc.AuthServiceStub(spy.channel)
    await films.SearchFilms(film_pb2.SearchFilmsRequest(query=PLANTED), metadata=who)
    where = f'title = "{PLANTED}"'
    await films.ListFilms(film_pb2.ListFilmsRequest(filter=where), metadata=who)
    wrong = auth_service_pb2.LoginRequest(email=f"{PLANTED}@example.com", password=PLANTED)
    await spy.listen(auth.Login(wrong))
    refresh = auth_service_pb2.RefreshTokenRequest(refresh_token=spy.tokens[-1])
    spy.tokens.append((await auth.RefreshToken(refresh)).tokens.refresh_token)
    await spy.listen(auth.RefreshToken(refresh))
    who = await spy.sign_in()
    model.script_with(lambda _: answer(f"{PLANTED} answer"))
    question = agent_service_pb2.AskRequest(question=f"{PLANTED} question")
    await agents.Ask(question, metadata=who)
    for reply in REPLIES:
        model.script_with(partial(_same, reply))
        await spy.listen(agents.Ask(question, metadata=who, timeout=20))
    chat = Chat(spy.channel, who, 20)
    await chat.start()
    for reply in REPLIES:
        model.script_with(partial(_same, reply))
        await chat.turn(f"{PLANTED} text")
    spy.heard += [str(event.turn_failed) for event in chat.seen if event.HasField("turn_failed")]
    await chat.leave()


def _same(reply: list[Step], _request: dict[str, Any]) -> list[Step]:
    return reply


async def _send_what_no_client_sends(spy: Spy) -> None:
    """Headers with control characters and bytes that are no UTF-8."""
    nasty = PLANTED.encode() + b"\x1b[31m\xff"
    async with raw_connection(spy.server.target) as connection:
        for path, header in (
            (b"/interview.auth.v1.AuthService/Logout", (b"authorization", b"Bearer " + nasty)),
            (b"/grpc.health.v1.Health/Check", (b"x-request-id", nasty)),
            (b"/grpc.health.v1.Health/Check", (b"user-agent", nasty)),
            (b"/" + nasty + b"/" + nasty, (b"x-request-id", b"fine")),
        ):
            stream = await connection.call(grpc_headers(path, header), message(b""))
            spy.heard.append(str((await connection.answer(stream)).headers))


async def _break_inside(spy: Spy) -> None:
    """Meet errors of the database, whose texts are planted too."""
    who = await spy.sign_in()
    await _plant_faults(spy.server)
    agents = agent_service_pb2_grpc.AgentServiceStub(spy.channel)
    auth = auth_service_pb2_grpc.AuthServiceStub(spy.channel)
    films = catalogue_service_pb2_grpc.CatalogueServiceStub(spy.channel)
    account = spy.server.viewer
    login = auth_service_pb2.LoginRequest(email=account.email, password=account.password)
    await spy.listen(auth.Login(login))
    question = agent_service_pb2.AskRequest(question=f"{PLANTED} question")
    await spy.listen(agents.Ask(question, metadata=who, timeout=20))
    await spy.listen(films.GetFilm(film_pb2.GetFilmRequest(name="films/1"), metadata=who))
    where = film_pb2.ListFilmsRequest(filter=f'title = "{PLANTED}"')
    await spy.listen(films.ListFilms(where, metadata=who))


async def _plant_faults(server: ServerProcess) -> None:
    url = server.environment.get("DATABASE_URL", "")
    if not url:
        with closing(connect(Path(server.environment["DATA_DIR"]) / "interview.db")) as database:
            for table in ("login_session", "chat_session"):
                database.execute(
                    f"CREATE TRIGGER {table}_fault BEFORE INSERT ON {table}"
                    f" BEGIN SELECT RAISE(ABORT, '{PLANTED} fault'); END"
                )
            database.execute(f"ALTER TABLE film RENAME TO {PLANTED}_film")
            database.commit()
        return
    await execute(
        url,
        f"""CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION
        '{PLANTED} fault' USING DETAIL = '{PLANTED} ' || row_to_json(NEW)::text,
        HINT = '{PLANTED} hint'; END $$""",
    )
    for table in ("login_session", "chat_session"):
        await execute(
            url,
            f"CREATE TRIGGER fault BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fault()",
        )
    await execute(url, f"ALTER TABLE film RENAME TO {PLANTED}_film")


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_of(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[dict[str, str]]:
    """The settings of a database; on PostgreSQL with a password in its URL."""
    if request.param == "sqlite":
        yield {}
        return
    server: str = request.getfixturevalue("postgres_server")
    async with postgres_copy(server, "template0") as url:
        with_password = make_url(url).set(password=f"{PLANTED}-password")
        yield {"DATABASE_URL": with_password.render_as_string(hide_password=False)}


async def test_nothing_that_it_was_told_gets_out(
    database_of: dict[str, str], tmp_path: Path
) -> None:
    port = str(free_port())
    async with running_fake_openai() as model:
        told = {"OPENAI_BASE_URL": model.base_url, **SECRETS, **database_of}
        settings: Any = {"METRICS_PORT": port, "LOG_LEVEL": "DEBUG", **told}
        with serving(tmp_path, **settings) as server:
            async with _spying(server) as spy:
                await _call_everything(spy)
                await _use_it_well(spy, model)
                await _send_what_no_client_sends(spy)
                await _break_inside(spy)
            metrics = await asyncio.to_thread(_fetched, f"http://127.0.0.1:{port}/metrics")
        _check_outputs(spy, metrics)


def _fetched(url: str) -> str:
    with urlopen(url, timeout=10) as response:  # ours, on this machine
        text: str = response.read().decode("utf-8")
        return text


def _check_outputs(spy: Spy, metrics: str) -> None:
    server = spy.server
    outputs = {
        "statuses": "\n".join(spy.heard),
        "log": server.log,
        "banner": (server.folder / "banner").read_text("utf-8"),
        "metrics": metrics,
    }
    for name, text in outputs.items():
        assert _lines_with(PLANTED, text) == [], name
        for token in spy.tokens:
            assert token not in text, name
    for secret in (server.viewer.email, server.viewer.password, server.admin.password, OWN):
        assert secret not in server.log + metrics
    for word in ("Traceback", ".py", "SELECT", "INSERT", "sqlalchemy", "asyncpg", "sqlite"):
        assert word not in outputs["statuses"]
    _check_that_much_was_said(spy)


def _check_that_much_was_said(spy: Spy) -> None:
    """Hold the test itself against what it must have come to."""
    lines = [json.loads(line) for line in spy.server.log.splitlines()]
    events = [line["event"] for line in lines]
    called = {line["method"] for line in lines if line["event"] == "call"}
    methods = [method for service in (AUTH, CATALOGUE, AGENT) for method in service.methods]
    paths = {f"/{method.containing_service.full_name}/{method.name}" for method in methods}
    assert paths <= called
    assert events.count("call failed") >= 3
    assert events.count("model_call_failed") >= 10
    assert len([line for line in lines if "exception" in line]) >= 3
    assert {line["code"] for line in lines if line["event"] == "call"} <= set(CODES.values())
    assert grpc.StatusCode.UNKNOWN not in spy.codes
    assert spy.codes >= {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
    }


def _lines_with(word: str, text: str) -> list[str]:
    return [line for line in text.splitlines() if word in line.lower()]


STARTS = {
    "nobody listens": ("serve", {"DATABASE_URL": f"postgresql://a:{PLANTED}@127.0.0.1:1/films"}),
    "no port": ("serve", {"DATABASE_URL": f"postgresql://a:{PLANTED}@127.0.0.1:{PLANTED}/films"}),
    "no host": ("migrate", {"DATABASE_URL": f"postgresql://a:{PLANTED}@[::1/films"}),
    "an option": ("migrate", {"DATABASE_URL": f"postgresql://a:{PLANTED}@db/x?{PLANTED}=1"}),
    "several": (
        "serve",
        {
            "DATABASE_URL": f"mysql://a:{PLANTED}@127.0.0.1/films",
            "OPENAI_BASE_URL": f"ftp://{PLANTED}",
            **dict.fromkeys(("PORT", "SECRET_KEY", "LOG_LEVEL"), PLANTED),
        },
    ),
}


@pytest.mark.parametrize(("command", "settings"), STARTS.values(), ids=STARTS.keys())
def test_a_start_that_fails_says_what_is_wrong_and_no_value(
    tmp_path: Path, command: str, settings: dict[str, str]
) -> None:
    done = run_program(command, folder=tmp_path, **settings)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert PLANTED not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
