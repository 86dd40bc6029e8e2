"""Who changes films, at a server in the test's own loop."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.type.money_pb2 import Money

from server.generated.interview.catalogue.v1 import film_changes_pb2 as pb
from server.generated.interview.catalogue.v1 import film_pb2
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from tests.support.caller import Caller
from tests.support.running import ADMIN, Running

NO_FILM = "films/2147483647"
SETTABLE = (
    "title",
    "description",
    "release_year",
    "language",
    "original_language",
    "rental_duration_days",
    "rental_rate",
    "length_minutes",
    "replacement_cost",
    "rating",
    "special_features",
    "streaming_available",
    "categories",
    "actors",
)


def dollars(units: int, cents: int = 0, currency: str = "USD") -> Money:
    """Return an amount."""
    return Money(currency_code=currency, units=units, nanos=cents * 10_000_000)


def film(**fields: Any) -> resources.Film:
    """Return a film with a title and a language, and with what else is told."""
    return resources.Film(**{"title": "A NEW FILM", "language": "languages/1", **fields})


class FilmDesk(Caller):
    """Somebody who may change films."""

    @classmethod
    async def open(cls, running: Running) -> "FilmDesk":
        """Sign an administrator in."""
        return cls(running, await running.sign_in(ADMIN))

    def create(self, request: Mapping[str, Any] | None = None, **fields: Any) -> Any:
        """Return the call that creates a film; `request` are the request's other fields."""
        return self.CreateFilm(pb.CreateFilmRequest(film=film(**fields), **(request or {})))

    def update(
        self,
        name: str,
        paths: Sequence[str] = (),
        request: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Any:
        """Return the call that sets fields of a film, under a mask where there are paths."""
        mask = FieldMask(paths=paths) if paths else None
        changed = resources.Film(name=name, **fields)
        return self.UpdateFilm(
            pb.UpdateFilmRequest(film=changed, update_mask=mask, **(request or {}))
        )

    def delete(self, name: str, **fields: Any) -> Any:
        """Return the call that deletes a film."""
        return self.DeleteFilm(pb.DeleteFilmRequest(name=name, **fields))

    def undelete(self, name: str, **fields: Any) -> Any:
        """Return the call that takes a deletion back."""
        return self.UndeleteFilm(pb.UndeleteFilmRequest(name=name, **fields))

    def get(self, name: str) -> Any:
        """Return the call that reads a film."""
        return self.GetFilm(film_pb2.GetFilmRequest(name=name))
