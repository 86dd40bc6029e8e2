"""The table beside the search index, whose words with one letter wrong are looked up in it.

The index, film_fts, has another shape on each database: the migrations alone make it.
"""

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from server.database.base import Base


class SearchVariant(Base):
    """A word of the index, under its own form and under each that lacks one of its letters.

    See server.catalogue.typos. Words stay when the last film that has them is gone, until every
    film is indexed anew.
    """

    __tablename__ = "search_variant"

    variant: Mapped[str] = mapped_column(Text, primary_key=True)
    word: Mapped[str] = mapped_column(Text, primary_key=True)
