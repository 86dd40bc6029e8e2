"""Changing films."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

from collections.abc import Callable, Sequence
from copy import deepcopy

from .calls import Calls
from .catalogue_calls import CatalogueCalls, mask_of, new_request_id
from .errors import EtagMismatch
from .generated.interview.catalogue.v1 import (
    CreateFilmRequest,
    DeleteFilmRequest,
    Film,
    FilmView,
    GetFilmRequest,
    UndeleteFilmRequest,
    UpdateFilmRequest,
)
from .generated.methods import CatalogueService as Methods
from .names import Name, resource_name

SETTABLE = (
    *("title", "description", "release_year", "language", "original_language"),
    *("rental_duration_days", "rental_rate", "length_minutes", "replacement_cost", "rating"),
    *("special_features", "streaming_available", "categories", "actors"),
)
"""The fields of a film that callers set; the server sets the others."""


class FilmChanges(CatalogueCalls):
    """Creates, changes and deletes films.

    Every call names itself to the server by a `request_id`, a UUID that is made unless given, so
    that it is repeated by itself when the server is not available, and done once. With
    `validate_only` everything is checked and nothing is changed.
    """

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        self._read_film = calls.unary(self._stub.get_film, Methods.GET_FILM)
        self._create_film = calls.named(self._stub.create_film, Methods.CREATE_FILM)
        self._update_film = calls.named(self._stub.update_film, Methods.UPDATE_FILM)
        self._delete_film = calls.named(self._stub.delete_film, Methods.DELETE_FILM)
        self._undelete_film = calls.named(self._stub.undelete_film, Methods.UNDELETE_FILM)

    async def create_film(
        self,
        film: Film,
        *,
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Film:
        """Create a film and return it. Raises ValidationFailed, ReferenceNotFound."""
        request = CreateFilmRequest(
            film=film, request_id=new_request_id(request_id), validate_only=validate_only
        )
        return await self._create_film(request, timeout)

    async def update_film(
        self,
        film: Film,
        fields: Sequence[str] = (),
        *,
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Film:
        """Set fields of the film `film.name`: those named, `"*"` all, none those with a value.

        Raises EtagMismatch when `film.etag` is not empty and not the present one,
        FieldMaskInvalid, ReferenceNotFound, ResourceDeleted.
        """
        request = UpdateFilmRequest(
            film=film,
            update_mask=mask_of(fields),
            request_id=new_request_id(request_id),
            validate_only=validate_only,
        )
        return await self._update_film(request, timeout)

    async def edit_film(
        self,
        film: Name,
        change: Callable[[Film], None],
        *,
        attempts: int = 5,
        timeout: float | None = None,
    ) -> Film:
        """Read a film, let `change` set its fields, store what differs, and return the film.

        When somebody else changes the film meanwhile, it is read and changed anew, `attempts`
        times in all; then EtagMismatch is raised. `change` may so be called several times.
        `timeout` is for each call.
        """
        name = resource_name("films", film)
        for attempt in range(1, attempts + 1):
            request = GetFilmRequest(name=name, view=FilmView.FULL)
            present = await self._read_film(request, timeout)
            wanted = deepcopy(present)
            change(wanted)
            fields = differing(present, wanted)
            if not fields:
                return present
            wanted.name, wanted.etag = present.name, present.etag
            try:
                return await self.update_film(wanted, fields, timeout=timeout)
            except EtagMismatch:
                if attempt == attempts:
                    raise
        raise ValueError("attempts must be 1 or more")

    async def delete_film(  # the fields of the request, by keyword
        self,
        film: Name,
        *,
        etag: str = "",
        force: bool = False,
        allow_missing: bool = False,
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Film:
        """Delete a film; for 30 days that can be undone. Raises ResourceInUse.

        `force` deletes it also while there are copies of it, `allow_missing` also takes one that
        is not there.
        """
        request = DeleteFilmRequest(
            name=resource_name("films", film),
            etag=etag,
            force=force,
            allow_missing=allow_missing,
            validate_only=validate_only,
            request_id=new_request_id(request_id),
        )
        return await self._delete_film(request, timeout)

    async def undelete_film(
        self,
        film: Name,
        *,
        etag: str = "",
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Film:
        """Take a deletion back. Raises ResourceExists when the film is not deleted."""
        request = UndeleteFilmRequest(
            name=resource_name("films", film),
            etag=etag,
            request_id=new_request_id(request_id),
            validate_only=validate_only,
        )
        return await self._undelete_film(request, timeout)


def differing(one: Film, other: Film) -> list[str]:
    """Return the fields that callers set and that differ between two films."""
    return [field for field in SETTABLE if getattr(one, field) != getattr(other, field)]
