"""What is said once when the server answers: to the log, and to the person who typed it."""

import sys
from collections.abc import Sequence
from time import perf_counter

from server.banner import Banner
from server.log import logger
from server.settings import Settings


class Announcement:
    """Says that the catalogue answers, and later that the agents do, with the seconds since
    `started`, a reading of `perf_counter`.

    With `new_users`, which may be empty, it writes the banner of a demo as well.
    """

    def __init__(
        self, settings: Settings, started: float, new_users: Sequence[tuple[str, str]] | None
    ) -> None:
        self._settings = settings
        self._started = started
        self._new_users = new_users
        self._banner: Banner | None = None
        self._log = logger("server")

    def catalogue_ready(self, port: int) -> None:
        """The port answers for sign-in and catalogue."""
        seconds = perf_counter() - self._started
        host = self._settings.host
        self._log.info("catalogue ready", host=host, port=port, seconds=round(seconds, 2))
        if self._new_users is not None:
            self._banner = Banner(self._settings, port, sys.stdout)
            self._banner.catalogue_ready(seconds, self._new_users)

    def agents_ready(self, model: str) -> None:
        """The agents answer too, by this model."""
        seconds = perf_counter() - self._started
        self._log.info("agents ready", model=model, seconds=round(seconds, 2))
        if self._banner is not None:
            self._banner.agents_ready(seconds)
