"""What was changed, for whoever asks later."""

from typing import Protocol

from server.catalogue.change_filter import by_number
from server.catalogue.changes import Change
from server.core.clock import Clock
from server.core.paging import Page, PageRequest
from server.query.filters import Fields, Filter, parse_filter, parse_order_by


class ChangeSource(Protocol):
    """What the list needs of a database."""

    async def page(
        self, page: PageRequest, where: Filter | None, *, descending: bool
    ) -> Page[Change]:
        """Return a page of the changes that meet the filter, by revision."""
        ...


class ChangeList:
    """The changes that are kept."""

    def __init__(self, source: ChangeSource, fields: Fields, clock: Clock) -> None:
        self._source = source
        self._fields = fields
        self._clock = clock

    async def list_changes(self, page: PageRequest, *, where: str, order_by: str) -> Page[Change]:
        """Return a page of the changes that meet a filter (AIP-160), by revision either way.

        Raises:
            DomainError: FILTER_* or ORDER_BY_INVALID, with the position and what is allowed.
        """
        condition = parse_filter(where, self._fields, page.time or self._clock())
        order = parse_order_by(order_by, self._fields)
        return await self._source.page(
            page,
            None if condition is None else by_number(condition),
            descending=any(term.descending for term in order),
        )
