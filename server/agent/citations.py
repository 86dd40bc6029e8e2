"""Which films an answer names, of those that the tools returned in its turn."""

import re
from collections.abc import Callable, Iterable, Mapping

from server.agent.engine import SourceRef
from server.agent.events import Citation


def cited(
    text: str, sources: Mapping[str, tuple[SourceRef, str]], new_id: Callable[[], str]
) -> list[Citation]:
    """Find each source's title in a text, its first mention, in the order of the text.

    `sources` maps a resource name to the source and the id of the tool call that returned
    it. A title counts as whole words, whatever its case; where one title is part of another
    that stands at the same place, the longer one counts.
    """
    found: list[Citation] = []
    taken: list[tuple[int, int]] = []
    for source, tool_call_id in sorted(
        sources.values(), key=lambda entry: len(entry[0].title), reverse=True
    ):
        place = _first_free(text, source.title, taken)
        if place is None:
            continue
        taken.append(place)
        start, end = (len(text[:offset].encode()) for offset in place)
        found.append(
            Citation(new_id(), source.resource_name, source.title, start, end, tool_call_id)
        )
    return sorted(found, key=lambda citation: citation.start_byte)


def _first_free(text: str, title: str, taken: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    pattern = re.compile(rf"(?<!\w){re.escape(title)}(?!\w)", re.IGNORECASE)
    for match in pattern.finditer(text):
        start, end = match.span()
        if all(end <= other_start or start >= other_end for other_start, other_end in taken):
            return start, end
    return None
