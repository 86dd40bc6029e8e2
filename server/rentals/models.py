"""Tables of the rental business, named and shaped as in Pagila.

Of staff, neither password nor picture is kept.
"""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Index, Integer, Text, func, true
from sqlalchemy.orm import Mapped, mapped_column

from server.database.base import Base
from server.database.types import Money, UtcDateTime


class Country(Base):
    """A country."""

    __tablename__ = "country"

    country_id: Mapped[int] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(Text)
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class City(Base):
    """A city."""

    __tablename__ = "city"
    __table_args__ = (Index("idx_fk_country_id", "country_id"),)

    city_id: Mapped[int] = mapped_column(primary_key=True)
    city: Mapped[str] = mapped_column(Text)
    country_id: Mapped[int] = mapped_column(ForeignKey("country.country_id"))
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class Address(Base):
    """A postal address."""

    __tablename__ = "address"
    __table_args__ = (Index("idx_fk_city_id", "city_id"),)

    address_id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(Text)
    address2: Mapped[str | None] = mapped_column(Text)
    district: Mapped[str] = mapped_column(Text)
    city_id: Mapped[int] = mapped_column(ForeignKey("city.city_id"))
    postal_code: Mapped[str | None] = mapped_column(Text)
    phone: Mapped[str] = mapped_column(Text)
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class Store(Base):
    """A store. Its manager has no foreign key: staff and store would need each other first."""

    __tablename__ = "store"
    __table_args__ = (Index("idx_unq_manager_staff_id", "manager_staff_id", unique=True),)

    store_id: Mapped[int] = mapped_column(primary_key=True)
    manager_staff_id: Mapped[int] = mapped_column(Integer)
    address_id: Mapped[int] = mapped_column(ForeignKey("address.address_id"))
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class Staff(Base):
    """A member of staff."""

    __tablename__ = "staff"

    staff_id: Mapped[int] = mapped_column(primary_key=True)
    first_name: Mapped[str] = mapped_column(Text)
    last_name: Mapped[str] = mapped_column(Text)
    address_id: Mapped[int] = mapped_column(ForeignKey("address.address_id"))
    email: Mapped[str | None] = mapped_column(Text)
    store_id: Mapped[int] = mapped_column(ForeignKey("store.store_id"))
    active: Mapped[bool] = mapped_column(server_default=true())
    username: Mapped[str] = mapped_column(Text)
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class Customer(Base):
    """A customer."""

    __tablename__ = "customer"
    __table_args__ = (
        Index("idx_fk_address_id", "address_id"),
        Index("idx_fk_store_id", "store_id"),
        Index("idx_last_name", "last_name"),
    )

    customer_id: Mapped[int] = mapped_column(primary_key=True)
    store_id: Mapped[int] = mapped_column(ForeignKey("store.store_id"))
    first_name: Mapped[str] = mapped_column(Text)
    last_name: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    address_id: Mapped[int] = mapped_column(ForeignKey("address.address_id"))
    activebool: Mapped[bool] = mapped_column(server_default=true())
    create_date: Mapped[date] = mapped_column(server_default=func.current_date())
    last_update: Mapped[datetime | None] = mapped_column(UtcDateTime, server_default=func.now())
    active: Mapped[int | None] = mapped_column(Integer)


class Inventory(Base):
    """A copy of a film in a store."""

    __tablename__ = "inventory"
    __table_args__ = (Index("idx_store_id_film_id", "store_id", "film_id"),)

    inventory_id: Mapped[int] = mapped_column(primary_key=True)
    film_id: Mapped[int] = mapped_column(ForeignKey("film.film_id"))
    store_id: Mapped[int] = mapped_column(ForeignKey("store.store_id"))
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class Rental(Base):
    """A copy lent to a customer."""

    __tablename__ = "rental"
    __table_args__ = (
        Index("idx_fk_inventory_id", "inventory_id"),
        Index(
            "idx_unq_rental_rental_date_inventory_id_customer_id",
            "rental_date",
            "inventory_id",
            "customer_id",
            unique=True,
        ),
    )

    rental_id: Mapped[int] = mapped_column(primary_key=True)
    rental_date: Mapped[datetime] = mapped_column(UtcDateTime)
    inventory_id: Mapped[int] = mapped_column(ForeignKey("inventory.inventory_id"))
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.customer_id"))
    return_date: Mapped[datetime | None] = mapped_column(UtcDateTime)
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.staff_id"))
    last_update: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())


class Payment(Base):
    """A payment. Pagila splits the table by month, so the date is part of the key.

    Foreign keys are left out: Pagila has none on its newest month.
    """

    __tablename__ = "payment"

    payment_date: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    payment_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    customer_id: Mapped[int] = mapped_column(Integer)
    staff_id: Mapped[int] = mapped_column(Integer)
    rental_id: Mapped[int] = mapped_column(Integer)
    amount: Mapped[Decimal] = mapped_column(Money(5, 2))
