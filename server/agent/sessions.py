"""Opening sessions: new ones, known ones, and one stream at a time for each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        self._attached: set[UUID] = set()

    async def start(
        self, owner_id: UUID, session_id: UUID | None, options: SessionOptions
    ) -> Session:
        """Begin a session; the same id and options again are the same session.

        Raises:
            DomainError: RESOURCE_EXISTS, the id is taken, by another user or other options.
        """
        now = self._clock()
        chosen = session_id or self._new_uuid()
        session = Session(chosen, owner_id, options, now, now)
        if await self.repository.create(session):
            return session
        known = await self.repository.load(chosen, owner_id)
        if known is None or known.options != options:
            raise DomainError(
                f"{session.name} is taken; choose another session_id, or resume the session",
                reason="RESOURCE_EXISTS",
                resource=ResourceRef(SESSION_TYPE, session.name),
                metadata={"resource_name": session.name, "conflicting_field": "session_id"},
            )
        return known

    async def resume(self, owner_id: UUID, session_id: UUID) -> Session:
        """Return the owner's session.

        Raises:
            ResourceNotFound: there is none, or it is another user's.
        """
        session = await self.repository.load(session_id, owner_id)
        if session is None:
            raise ResourceNotFound(SESSION_TYPE, f"sessions/{session_id}")
        return session

    @contextmanager
    def attached(self, session_id: UUID) -> Iterator[None]:
        """Hold the session for the block.

        Raises:
            DomainError: SESSION_ATTACHED_ELSEWHERE, another stream of this process holds it.
        """
        if session_id in self._attached:
            raise DomainError(
                "another stream holds this session; close it first",
                reason="SESSION_ATTACHED_ELSEWHERE",
                metadata={"session": f"sessions/{session_id}"},
            )
        self._attached.add(session_id)
        try:
            yield
        finally:
            self._attached.discard(session_id)
