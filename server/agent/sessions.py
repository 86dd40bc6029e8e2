"""Opening sessions: new ones, known ones, and one stream at a time for each."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from server.agent.domain import SESSION_TYPE, Session, SessionOptions, SessionRepository
from server.core.clock import Clock
from server.core.errors import DomainError, ResourceNotFound, ResourceRef


class Sessions:
    """The sessions of this process."""

    def __init__(
        self, repository: SessionRepository, clock: Clock, new_uuid: Callable[[], UUID]
    ) -> None:
        self.repository = repository
        self._clock = clock
        self._new_uuid = new_uuid
        self._attached: set[tuple[UUID, UUID]] = set()

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
            DomainError: SESSION_ATTACHED_ELSEWHERE, another stream of this process holds it;
                RESOURCE_EXISTS, the id is taken, by another user or with other options.
            DomainError: WRONG_STATE, the session has ended.
            ResourceNotFound: there is none and no options are given.
        """
        key = (owner_id, session_id)
        if key in self._attached:
            raise DomainError(
                "another stream holds this session; close it first",
                reason="SESSION_ATTACHED_ELSEWHERE",
                metadata={"session": f"sessions/{session_id}"},
            )
        self._attached.add(key)
        try:
            if options is None:
                session = await self._known(owner_id, session_id)
            else:
                session = await self._started(owner_id, session_id, options)
            if session.ended:
                raise _ended(session)
            yield session
        finally:
            self._attached.discard(key)

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


def _ended(session: Session) -> DomainError:
    return DomainError(
        f"{session.name} has ended; start a new session",
        reason="WRONG_STATE",
        resource=ResourceRef(SESSION_TYPE, session.name),
        metadata={
            "resource_name": session.name,
            "state": "SESSION_STATE_ENDED",
            "allowed_states": "SESSION_STATE_IDLE,SESSION_STATE_RUNNING",
        },
    )
