"""Lists that are read page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The items of one page in order, and the token of the next (empty: this is the last).

    `total_size` counts the items of all pages; None unless it was asked for.
    """

    items: Sequence[T]
    next_page_token: str = ""
    total_size: int | None = None


class PageIterator(Generic[T]):
    """All items of a list, or with `pages()` its pages, fetched when they are needed.

    Every iteration starts at the first page again.
    """

    def __init__(self, fetch: Callable[[str], Awaitable[Page[T]]], page_token: str = "") -> None:
        self._fetch = fetch
        self._first = page_token

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield every item. Raises InterviewError when a page cannot be fetched."""
        async for page in self.pages():
            for item in page.items:
                yield item

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Yield every page, empty ones too. Raises InterviewError."""
        token: str | None = self._first
        while token is not None:
            page = await self._fetch(token)
            yield page
            token = page.next_page_token or None
