"""Run migrations on the connection that the caller hands over.

`interview-server migrate` opens it (server.database.migrate); there is no other way in, so
no second place reads the settings.
"""

from typing import Any

from alembic import context

import server.agent.models
import server.audit.models
import server.auth.models
import server.catalogue.models
import server.catalogue.search_models
import server.database.idempotency
import server.rentals.models  # noqa: F401  # the imports fill Base.metadata
from server.database.base import Base


def include_object(
    _object: object, name: str | None, kind: str, _reflected: object, _compare_to: object
) -> bool:
    """Leave out what has no model: the search index, and PostgreSQL's indexes by bytes.

    The one has another shape on each database; of the others, collations are not reflected.
    """
    if kind == "index":
        return not (name or "").endswith("_bytes")
    return not (kind == "table" and (name or "").startswith("film_fts"))


def run(connection: Any) -> None:
    """Migrate in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=include_object,
        compare_server_default=False,
        transactional_ddl=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
