"""The rows of the audit trail."""

from server.core.audit import AuditRecord
from server.core.clock import Clock
from server.database.engine import Database


class AuditRows:
    """Adds records to the audit trail and reads them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def store(self, record: AuditRecord) -> None:
        """Store a record that no change has stored."""
