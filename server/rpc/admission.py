"""How many calls run at a time: a surplus is refused at once, not served too late.

Each class of calls has places of its own, so that a flood of one leaves the others alone;
probes need none. A call without a place waits its turn, first come first served, for a share
of the time that its caller gave it. One that would wait longer, going by how fast places have
come free, is answered RATE_LIMITED at once, with a delay after which to try again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from server.core.errors import DomainError, QuotaViolation
from server.core.telemetry import Telemetry
from server.rpc.call import Call
from server.rpc.methods import Method
from server.rpc.policy import CallClass

RETRY_SECONDS = 1.0
"""Mean of the delays that refused callers are told."""

_JITTER = 0.5
"""Each is up to this share shorter or longer, so that a crowd does not come back as one."""

_WEIGHT = 0.2
"""Of the newest span between two ends, in the mean that waits are foreseen by."""


@dataclass(frozen=True, slots=True)
class Places:
    """How many calls of a class run and how many wait.

    `patience` is the share of its remaining time that a call may wait, from 0 to 1.
    """

    running: int
    waiting: int
    patience: float


class Admission:
    """Gives calls their places.

    `random` returns numbers from 0 to 1; `monotonic` counts seconds and never goes back.
    """

    def __init__(
        self,
        places: Mapping[CallClass, Places],
        *,
        monotonic: Callable[[], float],
        random: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._queues = {name: _Queue(limits, monotonic) for name, limits in places.items()}
        self._random = random
        self._telemetry = telemetry

    def running(self, call_class: CallClass) -> int:
        """Return how many calls of a class have a place."""
        return self._queues[call_class].running

    def waiting(self, call_class: CallClass) -> int:
        """Return how many calls of a class wait for one."""
        return len(self._queues[call_class].waiting)

    def check(self, call: Call, method: Method) -> None:
        """Refuse a call that would get no place in time; takes nothing.

        Raises:
            DomainError: RATE_LIMITED.
        """
        queue = self._queues.get(method.policy.call_class)
        if queue is not None and not queue.has_room(call.deadline_seconds):
            raise self._refused(method.policy.call_class, queue.places, "full")

    async def enter(self, call: Call, method: Method) -> None:
        """Take a place, or wait for one. `leave` must follow unless this raises.

        Raises:
            DomainError: RATE_LIMITED, the wait is too long or would be.
        """
        queue = self._queues.get(method.policy.call_class)
        if queue is None:
            return
        self.check(call, method)
        if not await queue.take(call.deadline_seconds):
            raise self._refused(method.policy.call_class, queue.places, "waited")

    def leave(self, call: Call, method: Method) -> None:
        """Give the place back, to who waits first."""
        queue = self._queues.get(method.policy.call_class)
        if queue is not None:
            queue.give_back()

    def _refused(self, call_class: CallClass, places: Places, why: str) -> DomainError:
        self._telemetry.shed(call_class, why)
        delay = RETRY_SECONDS * (1 - _JITTER + 2 * _JITTER * self._random())
        return DomainError(
            "the server has as much to do as it can; try again after the delay",
            reason="RATE_LIMITED",
            metadata={"bucket": call_class, "limit": str(places.running)},
            quota=QuotaViolation("server", f"{call_class}: {places.running} calls at a time"),
            retry_delay=timedelta(seconds=delay),
        )


class AdmissionCheck:
    """Refuses by the headers alone what would be refused anyway: it costs far less then."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def enter(self, call: Call, method: Method) -> None:
        """Let the call pass where it has a chance."""
        self._admission.check(call, method)

    def leave(self, call: Call, method: Method) -> None:
        """Nothing to undo."""


class _Queue:
    """The places of one class. A place goes from hand to hand, so nobody overtakes."""

    def __init__(self, places: Places, monotonic: Callable[[], float]) -> None:
        self.places = places
        self.running = 0
        self.waiting: deque[asyncio.Future[bool]] = deque()
        self._monotonic = monotonic
        self._handed_over: float | None = None
        self._span = 0.0

    def has_room(self, remaining: float | None) -> bool:
        """Tell whether a call would get a place within its patience."""
        if self.running < self.places.running:
            return True
        if len(self.waiting) >= self.places.waiting:
            return False
        return remaining is None or len(self.waiting) * self._span <= self._patience(remaining)

    async def take(self, remaining: float | None) -> bool:
        """Take a place and return True; False where none came free in time."""
        if self.running < self.places.running:
            self.running += 1
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        timer = None if remaining is None else self._timer(turn, remaining)
        try:
            return await turn
        except asyncio.CancelledError:
            # The place may have come in the same moment as the end of the call.
            if not turn.cancelled() and turn.result():
                self.give_back()
            raise
        finally:
            if turn in self.waiting:
                self.waiting.remove(turn)
            if timer is not None:
                timer.cancel()

    def give_back(self) -> None:
        """Hand a place to who waits first; where nobody waits, it is free."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                self._note_hand_over()
                turn.set_result(True)
                return
        self._handed_over = None
        self.running -= 1

    def _note_hand_over(self) -> None:
        """Measure how fast places come free while all of them are taken."""
        now = self._monotonic()
        if self._handed_over is not None:
            self._span += _WEIGHT * (now - self._handed_over - self._span)
        self._handed_over = now

    def _timer(self, turn: "asyncio.Future[bool]", remaining: float) -> asyncio.TimerHandle:
        return turn.get_loop().call_later(self._patience(remaining), _give_up, turn)

    def _patience(self, remaining: float) -> float:
        return remaining * self.places.patience


def _give_up(turn: "asyncio.Future[bool]") -> None:
    if not turn.done():
        turn.set_result(False)
