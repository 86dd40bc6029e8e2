"""The methods of CatalogueService that tell what changed."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from server.catalogue.change_list import ChangeList
from server.catalogue.change_mapping import WatchMessages, fill_change
from server.catalogue.watch import Watch, WatchParts
from server.catalogue.watch_requests import ListChanges, wanted
from server.generated.interview.catalogue.v1 import change_pb2
from server.query.filters import Fields
from server.query.requests import arguments_of
from server.rpc.call import Call
from server.rpc.page_token import PageTokens
from server.rpc.validation import validated


class WatchMethods:
    """The methods of CatalogueService that tell what changed."""

    def __init__(
        self, parts: WatchParts, changes: ChangeList, film_fields: Fields, page_tokens: PageTokens
    ) -> None:
        self._parts = parts
        self._changes = changes
        self._film_fields = film_fields
        self._page_tokens = page_tokens
        self._messages = WatchMessages(parts.cursors)

    async def WatchCatalogue(
        self, request: change_pb2.WatchCatalogueRequest, call: Call
    ) -> AsyncIterator[change_pb2.WatchCatalogueResponse]:
        """Tell every change from a moment on."""
        parts = self._parts
        asked = wanted(request, self._film_fields, parts.cursors, parts.clock())
        assert call.stream is not None, "who watches has signed in"
        watch = Watch(parts, asked, call.stream)
        async with aclosing(watch.events()) as events:
            async for event in events:
                yield self._messages.response(event, previous=asked.previous)

    async def ListChanges(
        self, request: change_pb2.ListChangesRequest, call: Call
    ) -> change_pb2.ListChangesResponse:
        """Answer a page of the changes that are kept."""
        arguments = arguments_of(request)
        command = validated(
            ListChanges,
            {
                "page_size": request.page_size,
                "page_token": request.page_token,
                "filter": request.filter,
                "order_by": request.order_by,
            },
        )
        page = self._page_tokens.page(
            call.method, arguments, command.page_token, size=command.page_size
        )
        found = await self._changes.list_changes(
            page, where=command.filter, order_by=command.order_by
        )
        response = change_pb2.ListChangesResponse(
            next_page_token=self._page_tokens.seal(
                call.method, arguments, found.next_after, page.time
            )
        )
        for change in found.rows:
            fill_change(response.changes.add(), change, previous=request.include_previous)
        return response
