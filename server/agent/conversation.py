"""The turns of one attached session: one runs, others wait, any may be cancelled."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from time import perf_counter
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from server.agent.domain import QUEUE_LIMIT, Session, Turn
from server.agent.engine import ChatEngine, TurnLimits
from server.agent.events import (
    CancelCause,
    SessionEnded,
    TurnCancelled,
    TurnFailed,
    TurnQueued,
    TurnState,
    Usage,
)
from server.agent.publisher import Publisher
from server.agent.turn import TurnRun
from server.core.errors import DomainError, WrongState
from server.core.telemetry import Telemetry


class BusyPolicy(StrEnum):
    """What becomes of a message that comes while a turn runs."""

    QUEUE = "queue"
    INTERRUPT = "interrupt"
    REJECT = "reject"


class Conversation:
    """Runs the turns of a session in order. One per session at a time."""

    def __init__(
        self,
        session: Session,
        engine: ChatEngine,
        publisher: Publisher,
        *,
        new_id: Callable[[], str],
        log: FilteringBoundLogger,
        telemetry: Telemetry,
    ) -> None:
        self._session = session
        self._engine = engine
        self._publisher = publisher
        self._new_id = new_id
        self._log = log
        self._telemetry = telemetry
        self._waiting: deque[TurnRun] = deque()
        self._running: TurnRun | None = None
        self._interrupting: TurnRun | None = None
        self._arrived = asyncio.Event()
        self._closing = False

    @property
    def active_turn(self) -> Turn | None:
        """The turn that runs now."""
        return None if self._running is None else self._running.turn

    def fail_lost_turns(self) -> None:
        """End the turns that a process which is gone left unfinished."""
        for turn in self._session.turns:
            if turn.state in {TurnState.QUEUED, TurnState.RUNNING}:
                turn.state = TurnState.FAILED
                error = DomainError(
                    "the process that ran this turn is gone; send the text again",
                    reason="TURN_WORKER_LOST",
                    metadata={"turn_id": str(turn.turn_id)},
                )
                self._publisher.put(TurnFailed(error), turn_id=turn.turn_id, change=turn.change())

    def submit(
        self, turn_id: UUID, text: str, policy: BusyPolicy, limits: TurnLimits, frame_id: str = ""
    ) -> bool:
        """Take a user's message; False where this very turn is known already.

        Raises:
            DomainError: TURN_ID_REUSED (other text), TURN_IN_PROGRESS or TURN_QUEUE_FULL.
            WrongState: the stream takes no more turns.
        """
        if known := next((turn for turn in self._session.turns if turn.turn_id == turn_id), None):
            if known.user_text != text:
                raise DomainError(
                    "this turn_id was used for another text; make a new one",
                    reason="TURN_ID_REUSED",
                    metadata={"turn_id": str(turn_id)},
                )
            return False
        self._check_open()
        active = self._active()
        self._check_busy(policy, active)
        turn = Turn(turn_id, len(self._session.turns) + 1, TurnState.QUEUED, text)
        self._session.turns.append(turn)
        run = TurnRun(
            turn,
            self._session,
            self._engine,
            self._publisher,
            limits=limits,
            new_id=self._new_id,
            log=self._log,
            in_reply_to=frame_id,
        )
        if policy is BusyPolicy.INTERRUPT and active is not None:
            self._interrupt(active)
            self._waiting.appendleft(run)
            self._interrupting = run
        else:
            self._waiting.append(run)
        if self._running is not None or len(self._waiting) > 1:
            ahead = 0 if self._running is not None else 1
            self._publisher.put(
                TurnQueued(self._waiting.index(run) + 1 - ahead),
                turn_id=turn_id,
                in_reply_to=frame_id,
                change=turn.change(),
            )
        self._arrived.set()
        return True

    def cancel(self, turn_id: UUID | None, cause: CancelCause = CancelCause.CLIENT) -> bool:
        """Cancel a turn, the active one where none is named; False where there is none."""
        if turn_id is None:
            active = self._active()
            turn_id = None if active is None else active.turn.turn_id
        if self._running is not None and turn_id == self._running.turn.turn_id:
            return self._running.cancel(cause)
        for run in self._waiting:
            if run.turn.turn_id == turn_id:
                self._waiting.remove(run)
                self._drop(run, cause)
                return True
        return False

    def close(self, cause: CancelCause | None = None) -> None:
        """Take no more turns; with a cause, cancel those that wait. One that runs goes on."""
        self._closing = True
        while cause is not None and self._waiting:
            self._drop(self._waiting.popleft(), cause)
        self._arrived.set()

    def end(self) -> None:
        """Cancel everything and end the session for the client."""
        self.close(CancelCause.SESSION_ENDED)
        self.cancel(None, CancelCause.SESSION_ENDED)

    async def run(self) -> None:
        """Run turns until closed and none waits."""
        while True:
            while not self._waiting:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            self._running = self._waiting.popleft()
            try:
                await self._run(self._running)
            finally:
                self._running = None

    async def _run(self, run: TurnRun) -> None:
        started = perf_counter()
        with self._telemetry.scope():
            try:
                await run.run()
            finally:
                agent, seconds = self._session.active_agent, perf_counter() - started
                self._telemetry.turn(agent, seconds, run.turn.state)

    def publish_end(self) -> None:
        """Say that the session ended, behind everything else."""
        self._publisher.put(SessionEnded(self._session.usage))

    def _active(self) -> TurnRun | None:
        """Return the turn that runs, or is about to."""
        return self._running or (self._waiting[0] if self._waiting else None)

    def _interrupt(self, active: TurnRun) -> None:
        """Cancel what is active, and an earlier interruption that has not begun yet."""
        cause = CancelCause.INTERRUPTED_BY_NEW_TURN
        self.cancel(active.turn.turn_id, cause)
        if self._interrupting is not None and self._interrupting in self._waiting:
            self.cancel(self._interrupting.turn.turn_id, cause)

    def _check_open(self) -> None:
        if self._closing:
            raise WrongState(
                "this stream is ending and takes no more turns; resume the session on a new one",
                self._session.name,
                "CLOSING",
                ("IDLE", "RUNNING"),
            )

    def _check_busy(self, policy: BusyPolicy, active: TurnRun | None) -> None:
        if active is None:
            return
        if policy is BusyPolicy.REJECT:
            raise DomainError(
                "a turn is in progress; wait for its end, or send busy_policy QUEUE or INTERRUPT",
                reason="TURN_IN_PROGRESS",
                metadata={"active_turn": str(active.turn.turn_id)},
            )
        waiting = len(self._waiting) - (0 if self._running is not None else 1)
        if waiting >= QUEUE_LIMIT:
            raise DomainError(
                f"{QUEUE_LIMIT} turns wait already; send the next one when a turn has ended",
                reason="TURN_QUEUE_FULL",
                metadata={"queue_limit": str(QUEUE_LIMIT)},
            )

    def _drop(self, run: TurnRun, cause: CancelCause) -> None:
        run.turn.state = TurnState.CANCELLED
        self._publisher.put(
            TurnCancelled(cause, Usage()),
            turn_id=run.turn.turn_id,
            change=run.turn.change(),
        )
