"""Filters of films: a search in one looks for words as the search index keeps them."""

from datetime import datetime

from server.catalogue.search import search_terms
from server.query.filters import Fields, Filter, parse_filter


def film_filter(text: str, fields: Fields, now: datetime | None = None) -> Filter | None:
    """Return what the filter says, None if it is blank; see `parse_filter`."""
    return parse_filter(text, fields, now, terms=search_terms)
