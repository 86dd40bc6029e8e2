"""Following the catalogue's changes, across cuts of the stream."""
# a timeout here is the call's deadline, which the server is told

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from .call_end import StreamEnded
from .calls import Calls
from .catalogue_calls import CatalogueCalls
from .errors import CursorExpired, InterviewError, SlowConsumer
from .generated.interview.catalogue.v1 import (
    Change,
    Checkpoint,
    ListChangesRequest,
    ResourceKind,
    SnapshotEnd,
    SnapshotItem,
    WatchCatalogueRequest,
    WatchCatalogueResponse,
)
from .generated.methods import CatalogueService as Methods
from .paging import Page, PageIterator
from .resumption import PATIENCE, Resumption, received


@dataclass(frozen=True, slots=True)
class SnapshotBegun:
    """Everything that is there comes next, up to SnapshotEnd: forget what came before.

    `because` is why a snapshot begins anew: the stream was cut within one, or the cursor was too
    old. None for the first one.
    """

    because: InterviewError | None = None


WatchEvent = Change | Checkpoint | SnapshotBegun | SnapshotItem | SnapshotEnd
"""What a watch yields."""


class Changes(CatalogueCalls):
    """Watches and lists changes."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        self._list_changes = calls.unary(self._stub.list_changes, Methods.LIST_CHANGES)

    def watch(  # the fields of the request, by keyword
        self,
        *,
        kinds: Sequence[ResourceKind] = (),
        film_filter: str = "",
        start_cursor: str = "",
        include_snapshot: bool = False,
        include_previous: bool = False,
        checkpoint_interval: timedelta | None = None,
        patience: float = PATIENCE,
    ) -> "CatalogueWatch":
        """Return an iteration over changes of the catalogue, in order, each once, without a gap.

        It begins now, or behind `start_cursor`, or with `include_snapshot` with everything that is
        there. With both, the snapshot comes only where the cursor is too old; without
        `include_snapshot` that raises CursorExpired. A stream that ends is opened again behind the
        last event, for `patience` seconds in a row; then its error is raised.
        """
        request = WatchCatalogueRequest(
            resource_kinds=list(kinds),
            film_filter=film_filter,
            checkpoint_interval=checkpoint_interval,
            include_previous=include_previous,
        )
        resumption = Resumption(self._calls.source, patience)
        return CatalogueWatch(self, request, resumption, start_cursor, snapshot=include_snapshot)

    def list_changes(
        self,
        *,
        filter: str = "",  # noqa: A002  # the field's name in the API
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
        include_previous: bool = False,
        timeout: float | None = None,
    ) -> PageIterator[Change]:
        """Return the changes that were made and are kept; `timeout` is for each page."""

        async def fetch(token: str) -> Page[Change]:
            request = ListChangesRequest(
                page_size=page_size,
                page_token=token,
                filter=filter,
                order_by=order_by,
                include_previous=include_previous,
            )
            response = await self._list_changes(request, timeout)
            return Page(response.changes, response.next_page_token)

        return PageIterator(fetch, page_token)


class CatalogueWatch:
    """The events of a watch, without an end of its own.

    To leave it ends the stream: `break` soon, `aclose` and the end of an `async with` at once, as
    does whoever cancels the task that waits for the next event. `cursor` is where to go on then.
    """

    def __init__(
        self,
        part: CatalogueCalls,
        request: WatchCatalogueRequest,
        resumption: Resumption,
        cursor: str,
        *,
        snapshot: bool,
    ) -> None:
        self._method = part._stub.watch_catalogue  # noqa: SLF001  # of the same part of the library
        self._request = request
        self._resumption = resumption
        self._snapshot = snapshot
        self._because: InterviewError | None = None
        self._has_begun = False
        self._revision = 0
        self._events = self._watched()
        self.cursor = cursor
        """The `start_cursor` that leads on behind the last event. Empty: nothing to go on from."""

    def __aiter__(self) -> AsyncIterator[WatchEvent]:
        """Yield the events. Raises InterviewError when the watch cannot be gone on with."""
        return self

    async def __anext__(self) -> WatchEvent:
        """Wait for the next event."""
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        """Return the watch."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the stream."""
        await self.aclose()

    async def aclose(self) -> None:
        """End the stream."""
        await self._events.aclose()

    async def _watched(self) -> AsyncGenerator[WatchEvent, None]:
        while True:
            try:
                async with aclosing(await self._opened()) as messages:
                    begins = self._request.include_snapshot
                    async for message in messages:
                        self._resumption.progress()
                        self._has_begun = True
                        if begins:
                            begins = False
                            yield SnapshotBegun(self._because)
                        if (event := self._noted(message)) is not None:
                            yield event
                raise StreamEnded("the watch has ended")
            except InterviewError as error:
                await self._recover(error)

    async def _opened(self) -> AsyncGenerator[WatchCatalogueResponse, None]:
        self._request.start_cursor = self.cursor
        self._request.include_snapshot = self._snapshot and not self.cursor
        metadata = await self._resumption.metadata()
        timeout = Methods.WATCH_CATALOGUE.default_timeout
        return received(self._method, self._request, timeout, metadata)

    async def _recover(self, error: InterviewError) -> None:
        """Prepare the next stream; raise the error where none can go on without a gap."""
        if isinstance(error, CursorExpired) and self._snapshot:
            self._because, self.cursor = error, ""
            return
        self._because = error if self._has_begun else None
        if isinstance(error, SlowConsumer):
            self._advance(error.resume_cursor)
            if not self.cursor:
                # Within a snapshot: another one would end in the same way.
                raise error
        await self._resumption.wait(error)

    def _noted(self, message: WatchCatalogueResponse) -> WatchEvent | None:
        """Keep the cursor; return the event, None where it is not for the consumer or not new."""
        self._advance(message.cursor)
        if message.snapshot_end is not None:
            self._revision = message.snapshot_end.revision
            return message.snapshot_end
        if message.change is not None:
            if message.change.revision <= self._revision:
                return None
            self._revision = message.change.revision
            return message.change
        return message.snapshot_item or message.checkpoint

    def _advance(self, cursor: str) -> None:
        # Empty within a snapshot, from which nothing can be gone on with.
        self.cursor = cursor or self.cursor
