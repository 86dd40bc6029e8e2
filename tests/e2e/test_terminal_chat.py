"""`interview chat` with messages from a pipe, and `interview ask`."""

import json
import re

import pytest

from tests.support.terminal import Result, Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("server")]

DINOSAURS = "Which films with dinosaurs do you have?"
CAPITAL = "What is the capital of France?"


def sources(result: Result) -> dict[str, str]:
    """Return the titles of the cited films by their names."""
    found = re.findall(r"^  \[(\d+)\] (.*) \((films/\d+)\)$", result.stdout, re.MULTILINE)
    assert [int(number) for number, _, _ in found] == list(range(1, len(found) + 1))
    return {name: title for _, title, name in found}


def test_a_question_from_a_pipe_is_answered_with_its_sources(reader: Terminal) -> None:
    result = reader.run("chat", typed=f"{DINOSAURS}\n")
    assert (result.returncode, result.stderr) == (0, "")
    agent, call, outcome, first, *_ = result.stdout.splitlines()
    assert agent == "— SearchAgent —"
    assert call == '  search_films(query="dinosaurs")'
    assert re.fullmatch(r"  search_films: Found \d+ films \(\d+ ms\)", outcome)
    assert "dinosaurs" in first
    cited = sources(result)
    assert "Jurassic Park" in cited.values()
    for name, title in cited.items():
        assert title in result.stdout.split("Sources:")[0]
        film = json.loads(reader.run("films", "show", name, "--json").stdout)
        assert film["title"] == title
        break


def test_a_general_question_is_handed_over(reader: Terminal) -> None:
    result = reader.run("chat", typed=CAPITAL)
    assert result.returncode == 0
    first, handoff, second, answer = result.stdout.splitlines()
    assert (first, second) == ("— SearchAgent —", "— LLMAgent —")
    assert handoff.startswith("SearchAgent hands over to LLMAgent: ")
    assert "No language model is configured" in answer


def test_every_line_is_a_message_of_one_session(reader: Terminal) -> None:
    result = reader.run("chat", "--json", typed=f"{DINOSAURS}\n\n  \n{CAPITAL}\n")
    assert result.returncode == 0
    ready, *events = (json.loads(line) for line in result.stdout.splitlines())
    assert ready["sessionReady"]["session"]["name"].startswith("sessions/")
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    asked = [e["turnStarted"]["userMessage"]["text"] for e in events if "turnStarted" in e]
    assert asked == [DINOSAURS, CAPITAL]
    assert sum("turnCompleted" in event for event in events) == 2


def test_tool_calls_can_be_left_out(reader: Terminal) -> None:
    result = reader.run("chat", "--no-show-tools", typed=DINOSAURS)
    assert "search_films" not in result.stdout
    assert sources(result)


def test_a_session_is_gone_on_with(reader: Terminal) -> None:
    first = reader.run("chat", "--json", typed=CAPITAL).stdout.splitlines()
    session = json.loads(first[0])["sessionReady"]["session"]["name"]
    result = reader.run("chat", "--session", session, typed=DINOSAURS)
    assert result.returncode == 0
    assert sources(result)
    assert CAPITAL not in result.stdout
    with reader.screen("chat", "--session", session) as screen:
        screen.expect(f"> {CAPITAL}")
        screen.expect("No language model")
        screen.expect(f"> {DINOSAURS}")
        screen.expect("Jurassic Park")


def test_a_session_that_is_not_there_is_an_error(reader: Terminal) -> None:
    session = "sessions/00000000-0000-4000-8000-000000000000"
    result = reader.run("chat", "--session", session, typed=DINOSAURS)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"error: {session} does not exist (RESOURCE_NOT_FOUND)\n"


def test_a_message_that_is_refused_does_not_stop_the_next(reader: Terminal) -> None:
    result = reader.run("chat", typed=f"{'x' * 40_000}\n{DINOSAURS}\n")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "VALIDATION_FAILED" in line
    assert sources(result)


def test_a_line_that_is_no_text_does_not_stop_the_next(reader: Terminal) -> None:
    result = reader.run("chat", typed=f"caf\udce9\n{DINOSAURS}\n")
    assert result.returncode == 1
    assert result.stderr == "error: the message is not valid UTF-8\n"
    assert sources(result)


def test_no_input_is_no_message(reader: Terminal) -> None:
    result = reader.run("chat")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_one_question_is_asked_and_answered(reader: Terminal) -> None:
    result = reader.run("ask", *DINOSAURS.split())
    assert (result.returncode, result.stderr) == (0, "")
    assert "Jurassic Park" in sources(result).values()
    assert "search_films" not in result.stdout


def test_an_answer_can_be_one_json_object(reader: Terminal) -> None:
    result = reader.run("ask", "--json", DINOSAURS)
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert answer["agent"] == "agents/SearchAgent"
    assert "Jurassic Park" in answer["answer"]
    assert "Jurassic Park" in [citation["title"] for citation in answer["citations"]]
