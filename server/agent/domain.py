"""Sessions and turns, and what the chat needs of a database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from server.agent.engine import HistoryMessage, Role, TurnLimits
from server.agent.events import SessionEvent, TurnChange, TurnState, Usage

SESSION_TYPE = "interview-api/Session"
QUEUE_LIMIT = 8
MAX_HISTORY_TURNS = 20
MAX_HISTORY_CHARACTERS = 32_000
MAX_TIMEOUT = timedelta(seconds=300)
MAX_OUTPUT_TOKENS = 4096
MAX_TOOL_CALLS = 20
MAX_HANDOFFS = 5


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the client may choose for a session.

    `muted` names classes of events that are stored but not sent.
    """

    entry_agent: str = ""
    locale: str = ""
    limits: TurnLimits = field(default_factory=TurnLimits)
    muted: frozenset[str] = frozenset()
    grounded_only: bool = False


@dataclass(slots=True)
class Turn:
    """One user message and the answer to it."""

    turn_id: UUID
    position: int
    state: TurnState
    user_text: str
    answer_text: str = ""
    agent: str = ""
    tool_summary: str = ""

    def change(self, usage: Usage | None = None) -> TurnChange:
        """Return the turn's row as it is now."""
        return TurnChange(
            self.state,
            self.position,
            self.user_text,
            self.answer_text,
            self.agent,
            self.tool_summary,
            usage or Usage(),
        )


@dataclass(slots=True)
class Session:
    """A conversation of one user. `turns` are all of them, in order."""

    session_id: UUID
    owner_id: UUID
    options: SessionOptions
    create_time: datetime
    update_time: datetime
    active_agent: str = ""
    last_sequence: int = 0
    usage: Usage = field(default_factory=Usage)
    turns: list[Turn] = field(default_factory=list)
    ended: bool = False
    """The client ended it for good: nothing can be sent to it any more."""

    @property
    def name(self) -> str:
        """The resource name, `sessions/{uuid}`."""
        return f"sessions/{self.session_id}"

    def history(self) -> list[HistoryMessage]:
        """Return what the next turn's agents should know, the newest turns that fit."""
        messages: list[HistoryMessage] = []
        room = MAX_HISTORY_CHARACTERS
        answered = [turn for turn in self.turns if turn.state is TurnState.COMPLETED]
        for turn in reversed(answered[-MAX_HISTORY_TURNS:]):
            room -= len(turn.user_text) + len(turn.answer_text) + len(turn.tool_summary)
            if room < 0:
                break
            messages.append(
                HistoryMessage(Role.AGENT, turn.answer_text, turn.agent, turn.tool_summary)
            )
            messages.append(HistoryMessage(Role.USER, turn.user_text))
        return messages[::-1]


class SessionRepository(Protocol):
    """What the chat needs of a database."""

    async def create(self, session: Session) -> bool:
        """Insert a session; False where its id is taken."""
        ...

    async def load(self, session_id: UUID, owner_id: UUID) -> Session | None:
        """Return the owner's session with its turns; None where it is absent or another's."""
        ...

    async def append(
        self, session: Session, events: Sequence[SessionEvent], payloads: Sequence[bytes]
    ) -> None:
        """Store events with their turns' changes in one transaction.

        Raises:
            DomainError: SESSION_ATTACHED_ELSEWHERE, somebody else wrote to the session.
        """
        ...

    async def payloads_after(self, session_id: UUID, sequence: int, limit: int) -> list[bytes]:
        """Return stored events behind a sequence number, in order."""
        ...
