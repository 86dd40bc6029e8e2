"""`interview chat` with a person at the keyboard."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL
from threading import Thread

import pytest

from tests.support.fake_openai import FakeOpenAI, answer
from tests.support.server_process import ServerProcess, serving
from tests.support.terminal import CTRL_C, CTRL_D, Screen, Terminal

# Servers start and stop in some of them, which takes its time on a busy machine.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), pytest.mark.xdist_group("server")]

PROMPT = "\n> "
SET_TITLE = "\x1b]0;owned\x07"
"""Changes the title of a terminal's window."""


@pytest.fixture(scope="module")
def slow_model() -> Iterator[FakeOpenAI]:
    """A model that takes a minute for its answer, a word every 100 ms, and is up to no good."""
    model = FakeOpenAI()
    words = [f"{SET_TITLE}word{n} " for n in range(600)]
    model.script_with(lambda _: answer(*words, pause=0.1))
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(model.start(), loop).result()
    yield model
    asyncio.run_coroutine_threadsafe(model.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def slow_server(
    slow_model: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server with that model, whose access tokens live for the shortest time."""
    with serving(
        tmp_path_factory.mktemp("slow"),
        OPENAI_BASE_URL=slow_model.base_url,
        OPENAI_MODEL="slow",
        ACCESS_TOKEN_MINUTES="1",
        GRACE_SECONDS="1",
    ) as process:
        yield process


@pytest.fixture
def slow(slow_server: ServerProcess, tmp_path: Path) -> Terminal:
    """A terminal that is signed in at the slow server."""
    terminal = Terminal(tmp_path, slow_server.target)
    terminal.sign_in(slow_server.viewer)
    return terminal


def wait_until_idle(model: FakeOpenAI) -> None:
    end = time.monotonic() + 5
    while model.open_streams:
        assert time.monotonic() < end, "the model still answers"
        time.sleep(0.02)


def interrupt(screen: Screen) -> None:
    """Press Ctrl-C in the middle of a line, as fast as people are.

    A signal that comes just between showing a key and waiting for the next is noticed by
    Python's line editor with the key after it, not before.
    """
    screen.type("half a line")
    screen.expect("half a line")
    time.sleep(0.3)
    screen.type(CTRL_C)


def test_text_is_shown_as_it_comes_and_ctrl_c_cancels_it(
    slow: Terminal, slow_model: FakeOpenAI
) -> None:
    with slow.screen("chat") as screen:
        screen.expect("> ")
        screen.type("Tell me a story\n")
        screen.expect("word1 ")
        assert slow_model.open_streams == 1
        screen.expect("word4 ")
        assert b"\x1b]" not in screen.raw
        screen.type(CTRL_C)
        screen.expect("cancelled")
        screen.expect("> ")
        wait_until_idle(slow_model)
        screen.type("Again\n")
        screen.expect("word1 ")
        screen.type(CTRL_C)
        screen.expect("cancelled")
        screen.expect("> ")
        screen.type(CTRL_D)
        assert screen.exit_code() == 0
        assert "Traceback" not in screen.text


def test_ctrl_c_twice_leaves(slow: Terminal, slow_model: FakeOpenAI) -> None:
    with slow.screen("chat") as screen:
        screen.expect("> ")
        screen.type("Tell me a story\n")
        screen.expect("word1 ")
        screen.type(CTRL_C)
        screen.expect("cancelled")
        screen.expect("> ")
        interrupt(screen)
        assert screen.exit_code() == 130
        assert "Traceback" not in screen.text
    wait_until_idle(slow_model)


def test_commands_can_be_typed_while_an_answer_comes(slow: Terminal) -> None:
    with slow.screen("chat") as screen:
        screen.expect("> ")
        screen.type("Tell me a story\n")
        screen.expect("word1 ")
        screen.type("And another\n")
        screen.expect("word4 ")
        screen.type("/cancel\n")
        screen.expect("cancelled")
        screen.expect("> And another")
        screen.expect("word1 ")
        screen.type("/quit\n")
        screen.expect("cancelled")
        assert screen.exit_code() == 0


def test_ctrl_c_ends_a_question(slow: Terminal, slow_model: FakeOpenAI) -> None:
    with slow.screen("ask", "Tell me a story") as screen:
        screen.expect("word1 ")
        screen.type(CTRL_C)
        assert screen.exit_code() == 130
        assert "Traceback" not in screen.text
    wait_until_idle(slow_model)


def test_the_credential_is_renewed_while_the_chat_goes_on(slow: Terminal) -> None:
    """The server warns a minute before the end, and these tokens live no longer than that."""
    before = json.loads(slow.credentials.read_text())
    with slow.screen("chat") as screen:
        screen.expect("> ")
        end = time.monotonic() + 10
        while json.loads(slow.credentials.read_text()) == before:
            assert time.monotonic() < end, "nothing was renewed"
            time.sleep(0.05)
        screen.type("Tell me a story\n")
        screen.expect("word1 ")
        screen.type("/quit\n")
        assert screen.exit_code() == 0
    assert slow.run("whoami").returncode == 0


def test_ctrl_c_at_the_prompt_asks_first(reader: Terminal) -> None:
    with reader.screen("chat") as screen:
        screen.expect("> ")
        interrupt(screen)
        screen.expect("Ctrl-C again or Ctrl-D leaves")
        screen.expect("> ")
        screen.type("Any dinosaurs?\n")
        screen.expect("Jurassic Park")
        screen.expect("Sources:")
        screen.expect(PROMPT)
        interrupt(screen)
        screen.expect("Ctrl-C again or Ctrl-D leaves")
        screen.expect("> ")
        interrupt(screen)
        assert screen.exit_code() == 130
        assert "Traceback" not in screen.text


def test_commands_tell_about_the_chat(reader: Terminal) -> None:
    with reader.screen("chat") as screen:
        screen.expect("/help")
        screen.expect("> ")
        screen.type("/help\n")
        screen.expect("/quit     leave")
        screen.type("/agents\n")
        screen.expect("agents/LLMAgent: ")
        screen.type("/session\n")
        screen.expect("\nsessions/")
        screen.type("/cancel\n")
        screen.expect("there is no answer to cancel")
        screen.type("/dance\n")
        screen.expect("there is no command /dance")
        screen.type("/quit\n")
        assert screen.exit_code() == 0


def test_an_answer_that_a_crash_cut_is_said_to_be_lost(
    slow_model: FakeOpenAI, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    model = slow_model.base_url
    with serving(folder, exit_code=-SIGKILL, OPENAI_BASE_URL=model) as first:
        terminal = Terminal(tmp_path / "home", first.target)
        terminal.sign_in(first.viewer)
        users, port = (first.viewer, first.admin), first.target.rpartition(":")[2]
        with terminal.screen("chat") as screen:
            screen.expect("> ")
            screen.type("Tell me a story\n")
            screen.expect("word3 ")
            first.process.kill()
            first.process.wait()
            with serving(folder, accounts=users, PORT=port, OPENAI_BASE_URL=model):
                screen.expect("\nthe connection was lost; resuming sessions/")
                screen.expect("the session goes on", seconds=40)
                screen.expect("send the text again (TURN_WORKER_LOST)")
                screen.expect("> ")
                screen.type("Again\n")
                screen.expect("word1 ")
                screen.type("/quit\n")
                assert screen.exit_code() == 0


def test_a_session_outlives_the_server(tmp_path: Path) -> None:
    """The server stops and comes back: the chat goes on where it was."""
    folder = tmp_path / "server"
    folder.mkdir()
    with serving(folder) as first:
        terminal = Terminal(tmp_path / "home", first.target)
        terminal.sign_in(first.viewer)
        with terminal.screen("chat") as screen:
            screen.expect("> ")
            screen.type("Any dinosaurs?\n")
            screen.expect("Sources:")
            screen.expect(PROMPT)
            assert first.stop() == 0
            port = first.target.rpartition(":")[2]
            with serving(folder, accounts=(first.viewer, first.admin), PORT=port):
                screen.type("Tell me more about the second one\n")
                screen.expect("; resuming sessions/")
                screen.expect("the session goes on", seconds=40)
                screen.expect("[1] The Good Dinosaur (films/")
                screen.expect(PROMPT)
            screen.type("Still there?\n")
            screen.expect("; resuming sessions/")
            screen.type(CTRL_C)
            screen.expect("the connection is lost")
            screen.type(CTRL_C)
            assert screen.exit_code() == 130
            assert "Traceback" not in screen.text
