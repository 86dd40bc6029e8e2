"""Commands that talk with the agents."""

import asyncio
import sys
from contextlib import aclosing
from typing import Annotated

import typer

from interview_client.messages import Agent, AskResponse, ChatResponse

from .background import Background
from .connection import Connection
from .conversation import Conversation
from .dialogue import Dialogue, Script
from .keyboard import Keyboard
from .options import Config, Json, Target
from .output import Column, Output, note
from .transcript import JsonTranscript, TextTranscript, Transcript

_AGENT: tuple[Column[Agent], ...] = (
    Column("agent", lambda agent: agent.name),
    Column("called", lambda agent: agent.display_name),
    Column("what it does", lambda agent: agent.description),
    Column("tools", lambda agent: ", ".join(tool.tool for tool in agent.tools)),
    Column("model", lambda agent: agent.model if agent.available else f"{agent.model} (away)"),
)

Session = Annotated[
    str, typer.Option(metavar="NAME", help="Go on with a session, sessions/...", show_default=False)
]
ShowTools = Annotated[
    bool, typer.Option("--show-tools/--no-show-tools", help="Show what the agents look up.")
]


def agents(target: Target = "", config: Config = None, json: Json = False) -> None:
    """List the agents and what they can do."""
    connection = Connection(target, config)

    async def run() -> None:
        async with connection.client() as client:
            await Output(json=json).items(client.list_agents(), _AGENT)

    asyncio.run(run())


def ask(
    question: Annotated[list[str], typer.Argument(help="The question.")],
    session: Session = "",
    show_tools: ShowTools = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Ask one question and leave."""
    connection, output, text = Connection(target, config), Output(json=json), " ".join(question)

    async def answer() -> AskResponse:
        async with connection.client() as client:
            return await client.ask(text, session=session)

    async def stream() -> None:
        transcript = TextTranscript(output, connection.target, show_tools=show_tools)
        async with (
            connection.client() as client,
            aclosing(client.run_turn(text, session=session)) as events,
        ):
            async for event in events:
                transcript.show(event)

    if json:
        output.json(asyncio.run(answer()))
    else:
        asyncio.run(stream())


def chat(
    session: Session = "",
    show_tools: ShowTools = True,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> int:
    """Talk with the agents; from a pipe, one message per line."""
    connection, output = Connection(target, config), Output(json=json)
    transcript = _transcript(output, connection, show_tools=show_tools)

    def notice(text: str) -> None:
        transcript.end_line()
        note(text)

    interactive = sys.stdin.isatty()
    keyboard = Keyboard(output) if interactive else None
    # From a pipe that can wait for the end of the messages.
    at_rest = keyboard.interject if keyboard else _ignored
    conversation = Conversation(connection, session, notice, at_rest)
    with Background() as background:
        try:
            background.run(conversation.open())
            if json:
                transcript.show(ChatResponse(session_ready=conversation.ready))
            if session:
                shown = transcript if interactive or json else None
                background.run(_go_through(conversation, shown))
            background.run(conversation.rest())
            if keyboard:
                return Dialogue(background, conversation, transcript, keyboard, output).run()
            return Script(background, conversation, transcript).run(sys.stdin)
        finally:
            background.run(conversation.close())


def _transcript(output: Output, connection: Connection, *, show_tools: bool) -> Transcript:
    if output.is_json:
        return JsonTranscript(output, connection.target)
    return TextTranscript(output, connection.target, show_tools=show_tools)


def _ignored(text: str) -> None:
    del text


async def _go_through(conversation: Conversation, transcript: Transcript | None) -> None:
    """Read what a session said before, and show it where somebody reads along."""
    async with aclosing(conversation.history()) as events:
        async for event in events:
            if transcript is not None:
                transcript.show(event)
