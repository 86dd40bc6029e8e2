"""Opening sessions: new ones, known ones, and one stream at a time for each."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from server.agent.domain import SESSION_TYPE, Session, SessionOptions, SessionRepository
from server.core.clock import Clock
from server.core.errors import DomainError, ResourceNotFound, ResourceRef, WrongState

PATIENCE = 2.0
"""Seconds that a stream waits for the session's last one to let go. A client that comes back
after a cut is often faster than the news of the cut, which takes another connection."""


class Sessions:
    """The sessions of this process."""

    def __init__(
        self, repository: SessionRepository, clock: Clock, new_uuid: Callable[[], UUID]
    ) -> None:
        self.repository = repository
        self._clock = clock
        self._new_uuid = new_uuid
        self._attached: dict[tuple[UUID, UUID], asyncio.Event] = {}

    def new_id(self) -> UUID:
        """Choose the id of a new session."""
        return self._new_uuid()

    @asynccontextmanager
    async def attached(
        self, owner_id: UUID, session_id: UUID, options: SessionOptions | None = None
    ) -> AsyncIterator[Session]:
        """Hold a session for the block; with options, begin it where there is none.

        It is read once it is held, so that it is as its last stream left it. What other users
        hold is not in the way: whether their session exists is not to be learned.

        Raises:
            DomainError: SESSION_ATTACHED_ELSEWHERE, another stream of this process holds it and
                goes on doing so; RESOURCE_EXISTS, the id is taken, by another user or with
                other options.
            WrongState: the session has ended.
            ResourceNotFound: there is none and no options are given.
        """
        key = (owner_id, session_id)
        await self._vacant(key)
        self._attached[key] = asyncio.Event()
        try:
            if options is None:
                session = await self._known(owner_id, session_id)
            else:
                session = await self._started(owner_id, session_id, options)
            if session.ended:
                raise _ended(session)
            yield session
        finally:
            self._attached.pop(key).set()

    async def _vacant(self, key: tuple[UUID, UUID]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while (left := self._attached.get(key)) is not None:
                    await left.wait()
        except TimeoutError:
            raise DomainError(
                "another stream holds this session; close it first",
                reason="SESSION_ATTACHED_ELSEWHERE",
                metadata={"session": f"sessions/{key[1]}"},
            ) from None

    async def _started(self, owner_id: UUID, session_id: UUID, options: SessionOptions) -> Session:
        now = self._clock()
        session = Session(session_id, owner_id, options, now, now)
        if await self.repository.create(session):
            return session
        known = await self.repository.load(session_id, owner_id)
        if known is None or known.options != options:
            raise DomainError(
                f"{session.name} is taken; choose another session_id, or resume the session",
                reason="RESOURCE_EXISTS",
                resource=ResourceRef(SESSION_TYPE, session.name),
                metadata={"resource_name": session.name, "conflicting_field": "session_id"},
            )
        return known

    async def _known(self, owner_id: UUID, session_id: UUID) -> Session:
        session = await self.repository.load(session_id, owner_id)
        if session is None:
            raise ResourceNotFound(SESSION_TYPE, f"sessions/{session_id}")
        return session


def _ended(session: Session) -> WrongState:
    return WrongState(
        f"{session.name} has ended; start a new session",
        session.name,
        "SESSION_STATE_ENDED",
        ("SESSION_STATE_IDLE", "SESSION_STATE_RUNNING"),
        ResourceRef(SESSION_TYPE, session.name),
    )
