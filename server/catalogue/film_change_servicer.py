"""The methods of CatalogueService that change films: map in, ask the domain, map out."""

from typing import TypeAlias
from uuid import UUID

from server.catalogue import film_change_requests as requests
from server.catalogue.domain import Film
from server.catalogue.film_changes import Asked, FilmChanges
from server.catalogue.mapping import film_message
from server.core.idempotency import Replay
from server.generated.interview.catalogue.v1 import film_changes_pb2 as changes
from server.generated.interview.catalogue.v1 import resources_pb2
from server.rpc.call import Call
from server.rpc.idempotency import RequestIds, replayed

Request: TypeAlias = (
    changes.CreateFilmRequest
    | changes.UpdateFilmRequest
    | changes.DeleteFilmRequest
    | changes.UndeleteFilmRequest
)


class FilmChangeMethods:
    """The methods of CatalogueService that change films: map in, ask the domain, map out."""

    def __init__(self, changes: FilmChanges, request_ids: RequestIds) -> None:
        self._changes = changes
        self._request_ids = request_ids

    async def CreateFilm(
        self, request: changes.CreateFilmRequest, call: Call
    ) -> resources_pb2.Film:
        """Create a film, once for each request_id."""
        fields, request_id = requests.create_command(request)
        created = await self._changes.create(fields, self._asked(request, request_id, call, ""))
        answer = _answer(call, created, "", only_check=request.validate_only)
        if request.validate_only and not isinstance(created, Replay):
            for name in ("name", "revision", "etag"):
                answer.ClearField(name)  # there is nothing that they could be of
        return answer

    async def UpdateFilm(
        self, request: changes.UpdateFilmRequest, call: Call
    ) -> resources_pb2.Film:
        """Set fields of a film."""
        target, fields, request_id = requests.update_command(request)
        asked = self._asked(request, request_id, call, target.name)
        updated = await self._changes.update(target, fields, asked)
        return _answer(call, updated, target.name, only_check=request.validate_only)

    async def DeleteFilm(
        self, request: changes.DeleteFilmRequest, call: Call
    ) -> resources_pb2.Film:
        """Delete a film for 30 days and then for good."""
        target, request_id = requests.target_of(request)
        deleted = await self._changes.delete(
            target,
            self._asked(request, request_id, call, target.name),
            force=request.force,
            allow_missing=request.allow_missing,
        )
        return _answer(call, deleted, target.name, only_check=request.validate_only)

    async def UndeleteFilm(
        self, request: changes.UndeleteFilmRequest, call: Call
    ) -> resources_pb2.Film:
        """Take a deletion back."""
        target, request_id = requests.target_of(request)
        asked = self._asked(request, request_id, call, target.name)
        undeleted = await self._changes.undelete(target, asked)
        return _answer(call, undeleted, target.name, only_check=request.validate_only)

    def _asked(self, request: Request, request_id: UUID | None, call: Call, name: str) -> Asked:
        def kept_answer(film: Film | None) -> bytes:
            return _message(film, name).SerializeToString()

        repeatable = self._request_ids.repeatable(call, request, request_id, kept_answer)
        return Asked(call.audited, repeatable, only_check=request.validate_only)


def _answer(
    call: Call, outcome: Film | Replay | None, name: str, *, only_check: bool
) -> resources_pb2.Film:
    """Return the answer, with the revision that it is of beside it."""
    if isinstance(outcome, Replay):
        answer = replayed(call, outcome, resources_pb2.Film)
        call.audited.target = answer.name
    else:
        answer = _message(outcome, name)
    if answer.revision and not only_check:
        call.tell_revision(answer.revision)
    return answer


def _message(film: Film | None, name: str) -> resources_pb2.Film:
    """Return a film; of one that never was only the name."""
    if film is None:
        return resources_pb2.Film(name=name)
    return film_message(film, full=True)
