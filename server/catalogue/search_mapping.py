"""Between what a search found and its message."""

from collections.abc import Iterable

from server.catalogue.film_search import FilmMatch
from server.catalogue.mapping import fill_film
from server.generated.interview.catalogue.v1 import film_pb2


def matches_response(
    matches: Iterable[FilmMatch], next_page_token: str, *, full: bool
) -> film_pb2.SearchFilmsResponse:
    """Turn a page of a search's matches into its message."""
    message = film_pb2.SearchFilmsResponse(next_page_token=next_page_token)
    for match in matches:
        part = message.matches.add(
            score=match.score,
            snippet=match.snippet.text,
            snippet_field=match.snippet.field,
            by_meaning=match.by_meaning,
        )
        for mark in match.snippet.highlights:
            part.highlights.add(start_byte=mark.start, end_byte=mark.end)
        fill_film(part.film, match.film, full=full)
    return message
