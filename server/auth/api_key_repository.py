"""API keys in the database."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row

from server.audit.trail import AuditRows
from server.auth import api_key_statements as sql
from server.auth.api_key_principals import KeyInUse
from server.auth.api_keys import ApiKey, KeyHolder
from server.auth.rows import user_of
from server.core.audit import AuditRecord
from server.core.paging import Key, Page, PageRequest, cut_page
from server.database.engine import Database, WriteSession

_BATCH: Final = 500
_REMEMBERED: Final = timedelta(days=1)
"""How long it is known of a deleted key that it was there, for other processes and repeats."""


class ApiKeyRows:
    """Keeps API keys. Implements ApiKeyRepository and KeyLookup."""

    def __init__(self, database: Database, audit_rows: AuditRows) -> None:
        self._database = database
        self._audit_rows = audit_rows

    async def find_in_use(self, secret_hash: bytes) -> KeyInUse | None:
        """Return the key, expired or not; None when there is none, or its user is not active."""
        row = await self._database.read.first(sql.IN_USE, {"hash": secret_hash})
        return KeyInUse(_key(row), user_of(row)) if row else None

    async def add(
        self,
        key: ApiKey,
        secret_hash: bytes,
        check: Callable[[KeyHolder], ApiKey],
        record: AuditRecord,
    ) -> ApiKey | None:
        """Store a key and the record; None when there is no such user."""

        async def work(write: WriteSession) -> ApiKey | None:
            row = await write.first(sql.LOCKED_HOLDER, {"owner": key.user_id})
            if row is None:
                return None
            ids = {"owner": key.user_id, "key": key.key_id}
            counted = (await write.execute(sql.COUNT, ids)).one()
            checked = check(KeyHolder(user_of(row), counted.keys, bool(counted.same)))
            await write.execute(sql.ADD, _values(key, secret_hash))
            await self._audit_rows.add(write, record)
            return checked

        return await self._database.transaction(work)

    async def keys_of(self, user_id: UUID, page: PageRequest) -> Page[ApiKey] | None:
        """Return a page of a user's keys, the newest first; None when there is no such user."""
        parameters: dict[str, Any] = {"owner": user_id, "size": page.size + 1}
        statement = sql.FIRST_PAGE
        if page.after is not None:
            statement = sql.NEXT_PAGE
            parameters |= _after(page.after)
        rows = await self._database.read.all(statement, parameters)
        if not rows and await self._database.read.first(sql.HOLDER, {"owner": user_id}) is None:
            return None
        return cut_page([_key(row) for row in rows], page, _key_of)

    async def remove(self, user_id: UUID, key_id: UUID, now: datetime, record: AuditRecord) -> bool:
        """Delete a user's key and store the record; False when there is none."""

        async def work(write: WriteSession) -> bool:
            ids = {"owner": user_id, "key": key_id}
            removed = await write.execute(sql.REMOVE, {**ids, "at": now})
            if removed.rowcount != 1:
                return False
            await write.execute(sql.FORGET, {"before": now - _REMEMBERED})
            await self._audit_rows.add(write, record)
            return True

        return await self._database.transaction(work)

    async def note_uses(self, uses: Mapping[UUID, datetime]) -> None:
        """Store when keys were last used; an earlier use changes nothing."""
        # In one order everywhere, so that two processes do not wait for each other.
        rows = [{"key": key, "at": moment} for key, moment in sorted(uses.items())]
        for start in range(0, len(rows), _BATCH):
            await self._note(rows[start : start + _BATCH])

    async def _note(self, rows: list[dict[str, Any]]) -> None:
        async def work(write: WriteSession) -> None:
            await write.execute(sql.NOTE_USE, rows)

        await self._database.transaction(work)


def _key_of(key: ApiKey) -> Key:
    return (key.create_time.isoformat(), str(key.key_id))


def _after(key: Key) -> dict[str, Any]:
    return {"after_time": datetime.fromisoformat(str(key[0])), "after_key": UUID(str(key[1]))}


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        key_id=row.key_id,
        user_id=row.user_id,
        user=row.chosen_id or str(row.user_id),
        display_name=row.key_display_name,
        scopes=tuple(row.scopes.split()),
        hint=row.hint,
        create_time=row.key_create_time,
        expire_time=row.expire_time,
        last_use_time=row.last_use_time,
    )


def _values(key: ApiKey, secret_hash: bytes) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "user_id": key.user_id,
        "display_name": key.display_name,
        "scopes": " ".join(key.scopes),
        "secret_hash": secret_hash,
        "hint": key.hint,
        "create_time": key.create_time,
        "expire_time": key.expire_time,
    }
