"""Decides by rules what a language model would: look something up, hand over, or answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from server.agent.model_stream import HANDOFF_PREFIX, MessageRole, ModelMessage, ToolRequest
from server.agent.offline.answers import Finding, compose
from server.agent.offline.gazetteer import Gazetteer
from server.agent.offline.question import (
    Question,
    Want,
    asks_for_more,
    read_question,
    refers_back,
)
from server.catalogue.domain import Label

NO_MODEL = (
    "No language model is configured on this server, so I can answer questions about its film"
    " catalogue only. Ask for films by words, title, actor, category, language, rating, year or"
    " running time, for example: Which comedies are shorter than 60 minutes? With OPENAI_API_KEY"
    " set, a language model answers general questions too."
)
_NO_TOOLS = "I cannot look that up here."
_NOTHING_NAMED = "I do not know which film you mean. Please name it by its title."
_MAX_FILMS_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class CallTools:
    """Call these, then decide again."""

    requests: tuple[ToolRequest, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """Answer with this."""

    text: str


def decide(
    messages: Sequence[ModelMessage], tools: Sequence[str], gazetteer: Gazetteer
) -> CallTools | Say:
    """Return the next step for a conversation, given the names of the tools on offer."""
    question = understand(messages, gazetteer)
    findings = _findings(messages)
    if findings:
        return _similar_to(question, findings, tools) or Say(compose(question, findings))
    if not question.about_films:
        return _outside(tools)
    request = _look_up(question)
    if request is None:
        return Say(_NOTHING_NAMED)
    if request[0].name in tools:
        return CallTools(request)
    return _hand_over(tools, "the question is about films") or Say(_NO_TOOLS)


def understand(messages: Sequence[ModelMessage], gazetteer: Gazetteer) -> Question:
    """Return what the last user message asks for, with what earlier messages explain."""
    current = Question("")
    previous: Question | None = None
    listed: list[Label] = []
    for message in messages:
        if message.role is MessageRole.ASSISTANT and message.text:
            listed = gazetteer.titles_in(message.text) or listed
        elif message.role is MessageRole.USER:
            current = read_question(message.text, gazetteer)
            if previous is not None:
                current = current.after(previous)
            current = _resolve(current, listed)
            previous = current if current.about_films else previous
    return current


def _resolve(question: Question, listed: Sequence[Label]) -> Question:
    """Put the film in that `the second one` or `it` stands for."""
    if asks_for_more(question.text) or question.titles or not listed:
        return question
    distinct = list(dict.fromkeys(listed))
    if question.refers:
        place = question.refers if question.refers < 0 else question.refers - 1
        chosen = distinct[place : place + 1 or None]
    elif refers_back(question):
        chosen = distinct[:1]
    else:
        return question
    return replace(question, titles=tuple(chosen), refers=0, about_films=True)


def _similar_to(
    question: Question, findings: Sequence[Finding], tools: Sequence[str]
) -> CallTools | None:
    """After a look at the film itself, list others of its category."""
    film = findings[0].data.get("film")
    if not question.similar or len(findings) > 1 or film is None or "list_films" not in tools:
        return None
    categories = film.get("categories") or [""]
    arguments = {"category": categories[0], "limit": 6} if categories[0] else {"limit": 6}
    return CallTools((_request(0, "list_films", arguments),))


def _outside(tools: Sequence[str]) -> CallTools | Say:
    # An agent with tools of its own sends the question on; the other one has to say it.
    if any(not name.startswith(HANDOFF_PREFIX) for name in tools):
        handed = _hand_over(tools, "the question is not about films")
        if handed is not None:
            return handed
    return Say(NO_MODEL)


def _hand_over(tools: Sequence[str], reason: str) -> CallTools | None:
    target = next((name for name in tools if name.startswith(HANDOFF_PREFIX)), None)
    return CallTools((_request(0, target, {"reason": reason}),)) if target else None


def _look_up(question: Question) -> tuple[ToolRequest, ...] | None:
    if question.titles:
        films = question.titles[:_MAX_FILMS_AT_ONCE]
        return tuple(
            _request(index, "get_film", {"film": f"films/{film.number}"})
            for index, film in enumerate(films)
        )
    if question.refers:
        return None
    if question.want is Want.CATEGORIES:
        return (_request(0, "list_categories", {}),)
    arguments: dict[str, object] = dict(question.conditions)
    if question.limit:
        arguments["limit"] = question.limit
    if question.words and not question.sort and question.want is not Want.COUNT:
        arguments = {"query": " ".join(question.words)} | arguments
        return (_request(0, "search_films", arguments),)
    if question.sort:
        arguments["sort"] = question.sort
    return (_request(0, "list_films", arguments),)


def _request(index: int, name: str, arguments: Mapping[str, object]) -> ToolRequest:
    return ToolRequest(f"rule_{index}", name, json.dumps(arguments, ensure_ascii=False))


def _findings(messages: Sequence[ModelMessage]) -> list[Finding]:
    """Return what the tools have returned since the last user message."""
    last = max(
        (i for i, message in enumerate(messages) if message.role is MessageRole.USER), default=-1
    )
    recent = messages[last + 1 :]
    names = {request.call_id: request.name for m in recent for request in m.tool_requests}
    found: list[Finding] = []
    for message in recent:
        name = names.get(message.call_id, "")
        if message.role is MessageRole.TOOL and not name.startswith(HANDOFF_PREFIX):
            found.append(Finding(name, _data(message.text)))
    return found


def _data(text: str) -> Mapping[str, object]:
    try:
        data = json.loads(text)
    except ValueError:
        return {"error": text}
    return data if isinstance(data, dict) else {}
