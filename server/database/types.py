"""Column types that mean the same on SQLite and on PostgreSQL."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, Numeric, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine


class Money(TypeDecorator[Decimal]):
    """An amount with two decimals: NUMERIC on PostgreSQL, whole cents on SQLite.

    SQLite has no decimal type and would keep a binary float.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the storage."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Integer())
        return dialect.type_descriptor(self.impl_instance)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Turn 2.99 into 299 where cents are kept."""
        if value is None or dialect.name != "sqlite":
            return value
        return int((value * 100).to_integral_exact())

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Turn 299 into 2.99 where cents are kept."""
        if value is None or dialect.name != "sqlite":
            return value  # type: ignore[no-any-return]  # asyncpg returns a Decimal
        return Decimal(value).scaleb(-2)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC, to the microsecond. A naive one is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; SQLite keeps it without an offset, so text order is time order."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs its offset from UTC")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give SQLite's value its offset back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


TextList = ARRAY(Text).with_variant(JSON(), "sqlite")
"""A list of strings: text[] on PostgreSQL, a JSON array on SQLite."""

BigKey = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit number; SQLite's INTEGER has 64 bits and alone can count up by itself."""

IntegerList = ARRAY(Integer).with_variant(JSON(), "sqlite")
"""A list of numbers as one parameter."""
