"""Changing categories and actors."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

from collections.abc import Sequence

from .calls import Calls
from .catalogue_calls import CatalogueCalls, mask_of, new_request_id
from .generated.interview.catalogue.v1 import (
    Actor,
    Category,
    CreateActorRequest,
    CreateCategoryRequest,
    DeleteActorRequest,
    DeleteCategoryRequest,
    UpdateActorRequest,
    UpdateCategoryRequest,
)
from .generated.methods import CatalogueService as Methods
from .names import Name, resource_name


class TaxonomyChanges(CatalogueCalls):
    """Creates, changes and deletes categories and actors; `request_id` as in FilmChanges."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        stub = self._stub
        self._create_category = calls.named(stub.create_category, Methods.CREATE_CATEGORY)
        self._update_category = calls.named(stub.update_category, Methods.UPDATE_CATEGORY)
        self._delete_category = calls.named(stub.delete_category, Methods.DELETE_CATEGORY)
        self._create_actor = calls.named(stub.create_actor, Methods.CREATE_ACTOR)
        self._update_actor = calls.named(stub.update_actor, Methods.UPDATE_ACTOR)
        self._delete_actor = calls.named(stub.delete_actor, Methods.DELETE_ACTOR)

    async def create_category(
        self,
        category: Category,
        *,
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Category:
        """Create a category and return it. Raises ValidationFailed, ResourceExists."""
        request = CreateCategoryRequest(
            category=category, request_id=new_request_id(request_id), validate_only=validate_only
        )
        return await self._create_category(request, timeout)

    async def update_category(
        self,
        category: Category,
        fields: Sequence[str] = (),
        *,
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Category:
        """Set fields of the category: those named, `"*"` all, none those with a value.

        Raises EtagMismatch, ResourceExists.
        """
        request = UpdateCategoryRequest(
            category=category,
            update_mask=mask_of(fields),
            request_id=new_request_id(request_id),
            validate_only=validate_only,
        )
        return await self._update_category(request, timeout)

    async def delete_category(  # the fields of the request, by keyword
        self,
        category: Name,
        *,
        etag: str = "",
        force: bool = False,
        allow_missing: bool = False,
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Delete a category for good. Raises ResourceInUse while films have it.

        `force` takes it out of its films first, at most 1 000.
        """
        request = DeleteCategoryRequest(
            name=resource_name("categories", category),
            etag=etag,
            force=force,
            allow_missing=allow_missing,
            request_id=new_request_id(request_id),
            validate_only=validate_only,
        )
        await self._delete_category(request, timeout)

    async def create_actor(
        self,
        actor: Actor,
        *,
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Actor:
        """Create an actor and return it. Raises ValidationFailed."""
        request = CreateActorRequest(
            actor=actor, request_id=new_request_id(request_id), validate_only=validate_only
        )
        return await self._create_actor(request, timeout)

    async def update_actor(
        self,
        actor: Actor,
        fields: Sequence[str] = (),
        *,
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Actor:
        """Set fields of the actor: those named, `"*"` all, none those with a value.

        Raises EtagMismatch.
        """
        request = UpdateActorRequest(
            actor=actor,
            update_mask=mask_of(fields),
            request_id=new_request_id(request_id),
            validate_only=validate_only,
        )
        return await self._update_actor(request, timeout)

    async def delete_actor(  # the fields of the request, by keyword
        self,
        actor: Name,
        *,
        etag: str = "",
        force: bool = False,
        allow_missing: bool = False,
        request_id: str = "",
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Delete an actor for good. Raises ResourceInUse while films have it.

        `force` takes it out of its films first, at most 1 000.
        """
        request = DeleteActorRequest(
            name=resource_name("actors", actor),
            etag=etag,
            force=force,
            allow_missing=allow_missing,
            request_id=new_request_id(request_id),
            validate_only=validate_only,
        )
        await self._delete_actor(request, timeout)
