"""Sessions, turns and events in SQL. Options and usage are kept as JSON."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Executable, Row, Uuid, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from server.agent.domain import Session, SessionOptions, Turn
from server.agent.engine import TurnLimits
from server.agent.events import SessionEnded, SessionEvent, TurnChange, TurnState, Usage
from server.agent.models import ChatEvent, ChatSession, ChatTurn
from server.core.clock import Clock
from server.core.errors import DomainError
from server.database.engine import Database, WriteSession
from server.database.names import named

# A foreign key's column learns its type from the table that it points to, which may not be
# known yet.
_SESSION_ID = bindparam("session_id", type_=Uuid())
_LAST_EVENT = select(func.max(ChatEvent.sequence)).where(ChatEvent.session_id == _SESSION_ID)
_SESSION = named(
    "chat_sessions.get",
    select(ChatSession.__table__, _LAST_EVENT.scalar_subquery().label("last_event")).where(
        ChatSession.session_id == _SESSION_ID,
        ChatSession.owner_id == bindparam("owner_id", type_=Uuid()),
    ),
)
_TURNS = named(
    "chat_turns.list",
    select(ChatTurn.__table__)
    .where(ChatTurn.session_id == _SESSION_ID)
    .order_by(ChatTurn.position),
)
_PAYLOADS = named(
    "chat_events.list",
    select(ChatEvent.payload)
    .where(ChatEvent.session_id == _SESSION_ID, ChatEvent.sequence > bindparam("after"))
    .order_by(ChatEvent.sequence)
    .limit(bindparam("limit")),
)
_ADVANCE = named(
    "chat_sessions.advance",
    update(ChatSession)
    .where(ChatSession.session_id == bindparam("of_session"))
    .values(
        last_sequence=bindparam("last"),
        active_agent=bindparam("agent"),
        update_time=bindparam("now"),
    ),
)
_END = named(
    "chat_sessions.end",
    update(ChatSession)
    .where(ChatSession.session_id == bindparam("of_session"))
    .values(end_time=bindparam("now")),
)
_ADD_SESSION = named("chat_sessions.add", insert(ChatSession))
_ADD_EVENTS = named("chat_events.add", insert(ChatEvent))


class SqlSessions:
    """Keeps sessions in the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        dialect: Any = sqlite if database.is_sqlite else postgresql
        self._put_turn = _put_turn(dialect.insert)

    async def create(self, session: Session) -> bool:
        """Insert a session; False where its id is taken."""
        row = {
            "session_id": session.session_id,
            "owner_id": session.owner_id,
            "config": _options_json(session.options),
            "create_time": session.create_time,
            "update_time": session.update_time,
        }
        try:
            await self._database.transaction(lambda write: write.execute(_ADD_SESSION, row))
        except IntegrityError:
            return False
        return True

    async def load(self, session_id: UUID, owner_id: UUID) -> Session | None:
        """Return the owner's session with its turns; None where it is absent or another's."""
        row = await self._database.read.first(
            _SESSION, {"session_id": session_id, "owner_id": owner_id}
        )
        if row is None:
            return None
        turns = await self._database.read.all(_TURNS, {"session_id": session_id})
        usage = Usage()
        for turn in turns:
            usage = usage.plus(_usage(turn.usage))
        return Session(
            row.session_id,
            row.owner_id,
            _options(row.config),
            row.create_time,
            row.update_time,
            row.active_agent,
            row.last_event or 0,
            usage,
            [_turn(turn) for turn in turns],
            ended=row.end_time is not None,
        )

    async def append(
        self, session: Session, events: Sequence[SessionEvent], payloads: Sequence[bytes]
    ) -> None:
        """Store events with their turns' changes in one transaction.

        Raises:
            DomainError: SESSION_ATTACHED_ELSEWHERE, somebody else wrote to the session.
        """
        rows = [
            {
                "session_id": session.session_id,
                "sequence": event.sequence,
                "turn_id": event.turn_id,
                "payload": payload,
            }
            for event, payload in zip(events, payloads, strict=True)
        ]
        # Of several changes of one turn the last counts.
        turns = {event.turn_id: event.change for event in events if event.change is not None}

        async def work(write: WriteSession) -> None:
            # One row alone, the piece of text that is most batches, costs half of a list.
            await write.execute(_ADD_EVENTS, rows if len(rows) > 1 else rows[0])
            for turn_id, change in turns.items():
                if turn_id is not None:
                    row = self._turn_row(session.session_id, turn_id, change)
                    await write.execute(self._put_turn, row)
            if turns:
                await self._advance(write, session, events[-1].sequence)
            if any(isinstance(event.event, SessionEnded) for event in events):
                ended = {"of_session": session.session_id, "now": self._clock()}
                await write.execute(_END, ended)

        try:
            await self._database.transaction(work)
        except IntegrityError:
            # Numbers have no holes, so whoever else writes has used the next one.
            raise DomainError(
                "another stream has taken this session over; resume it when that one has ended",
                reason="SESSION_ATTACHED_ELSEWHERE",
                metadata={"session": session.name},
            ) from None

    async def payloads_after(self, session_id: UUID, sequence: int, limit: int) -> list[bytes]:
        """Return stored events behind a sequence number, in order."""
        rows = await self._database.read.all(
            _PAYLOADS, {"session_id": session_id, "after": sequence, "limit": limit}
        )
        return [row.payload for row in rows]

    async def _advance(self, write: WriteSession, session: Session, sequence: int) -> None:
        """Note in the session's row how far it came: for lists, at each step of a turn."""
        await write.execute(
            _ADVANCE,
            {
                "of_session": session.session_id,
                "last": sequence,
                "agent": session.active_agent,
                "now": self._clock(),
            },
        )

    def _turn_row(self, session_id: UUID, turn_id: UUID, change: TurnChange) -> dict[str, Any]:
        now = self._clock()
        ended = change.state not in {TurnState.QUEUED, TurnState.RUNNING}
        return {
            "session_id": session_id,
            "turn_id": turn_id,
            "position": change.position,
            "state": change.state.value,
            "user_text": change.user_text,
            "answer_text": _storable(change.answer_text),
            "agent": change.agent,
            "tool_summary": _storable(change.tool_summary),
            "usage": _usage_json(change.usage),
            "create_time": now,
            "end_time": now if ended else None,
        }


def _put_turn(dialect_insert: Any) -> Executable:
    """Return the statement that inserts a turn's row or brings it up to date."""
    row = dialect_insert(ChatTurn)
    changing = ("state", "answer_text", "agent", "tool_summary", "usage", "end_time")
    statement: Executable = row.on_conflict_do_update(
        index_elements=[ChatTurn.session_id, ChatTurn.turn_id],
        set_={name: row.excluded[name] for name in changing},
    )
    return named("chat_turns.put", statement)


def _storable(text: str) -> str:
    """Leave out NUL, which PostgreSQL's text cannot hold: a model may write anything."""
    return text.replace("\x00", "")


def _turn(row: Row[Any]) -> Turn:
    return Turn(
        row.turn_id,
        row.position,
        TurnState(row.state),
        row.user_text,
        row.answer_text,
        row.agent,
        row.tool_summary,
    )


def _options_json(options: SessionOptions) -> bytes:
    return orjson.dumps(
        {
            "entry_agent": options.entry_agent,
            "locale": options.locale,
            "timeout": options.limits.timeout.total_seconds(),
            "max_output_tokens": options.limits.max_output_tokens,
            "max_tool_calls": options.limits.max_tool_calls,
            "max_handoffs": options.limits.max_handoffs,
            "muted": sorted(options.muted),
            "grounded_only": options.grounded_only,
        }
    )


def _options(content: bytes) -> SessionOptions:
    kept = orjson.loads(content)
    limits = TurnLimits(
        timedelta(seconds=kept["timeout"]),
        kept["max_output_tokens"],
        kept["max_tool_calls"],
        kept["max_handoffs"],
    )
    return SessionOptions(
        kept["entry_agent"],
        kept["locale"],
        limits,
        frozenset(kept["muted"]),
        kept["grounded_only"],
    )


def _usage_json(usage: Usage) -> bytes:
    return orjson.dumps(
        {
            "models": usage.models,
            "cached_input_tokens": usage.cached_input_tokens,
            "model_calls": usage.model_calls,
            "tool_calls": usage.tool_calls,
            "total_seconds": usage.total_time.total_seconds(),
        }
    )


def _usage(content: bytes) -> Usage:
    kept: Mapping[str, Any] = orjson.loads(content)
    return Usage(
        {model: (given, made) for model, (given, made) in kept["models"].items()},
        kept["cached_input_tokens"],
        kept["model_calls"],
        kept["tool_calls"],
        None,
        timedelta(seconds=kept["total_seconds"]),
    )
