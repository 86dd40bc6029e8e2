"""Messages in, answers out: with a person, and with a pipe."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import aclosing
from uuid import uuid4

from .background import Background
from .conversation import Conversation
from .failures import FAILED, INTERRUPTED, Failure, one_line
from .keyboard import Keyboard
from .output import Output, note
from .transcript import Transcript

HELP = """\
Write a message and press Enter. Ctrl-C cancels the answer that comes; twice, or Ctrl-D, leaves.
/agents   the agents of this chat
/session  the session's name, to come back with: interview chat --session NAME
/cancel   cancel the answer that comes
/quit     leave"""


class Dialogue:
    """A chat with a person at a terminal."""

    def __init__(
        self,
        background: Background,
        conversation: Conversation,
        transcript: Transcript,
        keyboard: Keyboard,
        output: Output,
    ) -> None:
        self._background = background
        self._conversation = conversation
        self._transcript = transcript
        self._keyboard = keyboard
        self._output = output
        self._interrupts = 0
        self._leaving = False
        self._commands: Mapping[str, Callable[[], None]] = {
            "/help": lambda: self._output.line(HELP),
            "/agents": self._show_agents,
            "/session": lambda: self._output.line(self._conversation.session),
            "/cancel": lambda: self._output.line("there is no answer to cancel"),
            "/quit": self._leave,
        }

    def run(self) -> int:
        """Talk until the person leaves; return the exit code."""
        note("/help shows what you can do here, Ctrl-D leaves")
        while not self._leaving:
            try:
                line = self._keyboard.line().strip()
            except EOFError:
                self._output.line("")
                break
            except KeyboardInterrupt:
                self._output.line("")
                if self._interrupted_twice():
                    return INTERRUPTED
                note("Ctrl-C again or Ctrl-D leaves")
                continue
            if line and not self._handled(line):
                return INTERRUPTED
        return 0

    def _handled(self, line: str) -> bool:
        """Do what the line says; False where the person left by Ctrl-C."""
        self._interrupts = 0
        if not line.startswith("/"):
            return self._turn(line)
        command = self._commands.get(line.lower())
        if command is None:
            note(f"there is no command {line}; /help lists them")
        else:
            command()
        return True

    def _turn(self, text: str) -> bool:
        """Have a message answered; False where the person left by Ctrl-C."""
        turn_id = str(uuid4())
        work = self._background.start(
            take_turn(self._conversation, self._transcript, text, turn_id)
        )
        self._keyboard.follow(work)
        while not work.done():
            try:
                line = self._keyboard.line_during()
            except KeyboardInterrupt:
                if self._interrupted_twice():
                    return self._abandon(work)
                self._cancel(turn_id)
            else:
                self._typed(line or "", turn_id)
        return self._report(work)

    def _typed(self, line: str, turn_id: str) -> None:
        if line in {"/cancel", "/quit"}:
            self._leaving = line == "/quit"
            self._cancel(turn_id)
        elif line:
            self._keyboard.keep(line)

    def _cancel(self, turn_id: str) -> None:
        self._background.start(self._conversation.cancel(turn_id))

    def _abandon(self, work: Future[None]) -> bool:
        work.cancel()
        return False

    def _report(self, work: Future[None]) -> bool:
        try:
            work.result()
        except Failure as failure:
            self._transcript.end_line()
            note(f"error: {failure}")
        except CancelledError:
            return False
        return True

    def _interrupted_twice(self) -> bool:
        self._interrupts += 1
        return self._interrupts > 1

    def _leave(self) -> None:
        self._leaving = True

    def _show_agents(self) -> None:
        for agent in self._conversation.agents:
            self._output.line(f"{one_line(agent.name)}: {one_line(agent.description)}")
            for example in agent.examples:
                self._output.line(f"  {one_line(example)}", dim=True)


class Script:
    """A chat whose messages come from a pipe or a file, one per line."""

    def __init__(
        self, background: Background, conversation: Conversation, transcript: Transcript
    ) -> None:
        self._background = background
        self._conversation = conversation
        self._transcript = transcript

    def run(self, lines: Iterable[str]) -> int:
        """Have every line answered; return the exit code.

        It is 1 where an answer failed, or where the server has ended the chat since the last one.
        """
        code = 0
        for line in lines:
            if not (text := line.strip()):
                continue
            try:
                self._background.run(
                    take_turn(self._conversation, self._transcript, text, str(uuid4()))
                )
            except Failure as failure:
                self._transcript.end_line()
                note(f"error: {failure}")
                code = FAILED
        if over := self._conversation.over:
            note(f"error: {over}")
            code = FAILED
        return code


async def take_turn(
    conversation: Conversation, transcript: Transcript, text: str, turn_id: str
) -> None:
    """Send the message and show its turn. Raises Failure."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Failure("the message is not valid UTF-8") from error
    async with aclosing(conversation.turn(text, turn_id)) as events:
        async for event in events:
            transcript.show(event)
