"""What the search index has of a film's texts, as text for both databases."""

from collections.abc import Iterable

from server.catalogue.search import MARK, indexed_words, stem
from server.catalogue.typos import may_be_meant, variants


class IndexedFilm:
    """The words of one film, column by column, each as stem and as marked whole word."""

    def __init__(self, film_id: int, texts: Iterable[tuple[str, str]]) -> None:
        self.film_id = film_id
        self.words: set[str] = set()
        self.columns = {column: self._tokens(text) for column, text in texts}

    def _tokens(self, text: str) -> str:
        words = indexed_words(text)
        self.words.update(words)
        return " ".join([f"{stem(word)} {MARK}{word}" for word in words])


def variant_rows(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return rows of `search_variant`, sorted: each form of each word that may be meant."""
    return sorted(
        (variant, word) for word in words if may_be_meant(word) for variant in variants(word)
    )
