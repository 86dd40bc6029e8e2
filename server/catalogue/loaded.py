"""What follows when films were stored past the service's calls, by a dump or by hand."""

from collections.abc import Sequence

from server.catalogue.change_log import ChangeLog
from server.catalogue.film_counts import recount
from server.catalogue.indexing import reindex
from server.core.clock import utc_now
from server.database.engine import WriteSession


async def films_loaded(
    write: WriteSession, *, is_sqlite: bool, film_ids: Sequence[int] | None = None
) -> int:
    """Index these films, or all, and count anew; return how many were indexed.

    A revision is claimed and not logged: who watches begins anew with what is there.
    """
    await ChangeLog(utc_now, is_sqlite=is_sqlite).claim(write)
    indexed = await reindex(write, is_sqlite=is_sqlite, film_ids=film_ids)
    await recount(write)
    return indexed
