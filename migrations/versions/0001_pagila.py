"""Pagila's tables, as far as this service uses them.

A database restored from a Pagila dump is at this revision already: `adopt` stamps it.

Revision: 0001, the first
"""

import sqlalchemy as sa
from alembic import op

from server.database.types import Money, TextList, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "actor",
    "category",
    "country",
    "language",
    "payment",
    "city",
    "film",
    "address",
    "film_actor",
    "film_category",
    "store",
    "customer",
    "inventory",
    "staff",
    "rental",
)
"""In the order of their foreign keys."""


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "actor",
        sa.Column("actor_id", sa.Integer(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("actor_id", name=op.f("actor_pkey")),
    )
    op.create_index("idx_actor_last_name", "actor", ["last_name"], unique=False)
    op.create_table(
        "category",
        sa.Column("category_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("category_id", name=op.f("category_pkey")),
    )
    op.create_table(
        "country",
        sa.Column("country_id", sa.Integer(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("country_id", name=op.f("country_pkey")),
    )
    op.create_table(
        "language",
        sa.Column("language_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("language_id", name=op.f("language_pkey")),
    )
    op.create_table(
        "payment",
        sa.Column("payment_date", UtcDateTime(), nullable=False),
        sa.Column("payment_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("customer_id", sa.Integer(), nullable=False),
        sa.Column("staff_id", sa.Integer(), nullable=False),
        sa.Column("rental_id", sa.Integer(), nullable=False),
        sa.Column("amount", Money(5, 2), nullable=False),
        sa.PrimaryKeyConstraint("payment_date", "payment_id", name=op.f("payment_pkey")),
    )
    op.create_table(
        "city",
        sa.Column("city_id", sa.Integer(), nullable=False),
        sa.Column("city", sa.Text(), nullable=False),
        sa.Column("country_id", sa.Integer(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["country_id"], ["country.country_id"], name=op.f("city_country_id_fkey")
        ),
        sa.PrimaryKeyConstraint("city_id", name=op.f("city_pkey")),
    )
    op.create_index("idx_fk_country_id", "city", ["country_id"], unique=False)
    op.create_table(
        "film",
        sa.Column("film_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("release_year", sa.Integer(), nullable=True),
        sa.Column("language_id", sa.Integer(), nullable=False),
        sa.Column("original_language_id", sa.Integer(), nullable=True),
        sa.Column("rental_duration", sa.SmallInteger(), server_default="3", nullable=False),
        sa.Column("rental_rate", Money(4, 2), nullable=False),
        sa.Column("length", sa.SmallInteger(), nullable=True),
        sa.Column("replacement_cost", Money(5, 2), nullable=False),
        sa.Column(
            "rating",
            sa.Enum("G", "PG", "PG-13", "R", "NC-17", name="mpaa_rating"),
            server_default="G",
            nullable=True,
        ),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.Column("special_features", TextList, nullable=True),
        sa.CheckConstraint(
            "release_year BETWEEN 1901 AND 2155", name=op.f("film_release_year_check")
        ),
        sa.ForeignKeyConstraint(
            ["language_id"], ["language.language_id"], name=op.f("film_language_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["original_language_id"],
            ["language.language_id"],
            name=op.f("film_original_language_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("film_id", name=op.f("film_pkey")),
    )
    op.create_index("idx_fk_language_id", "film", ["language_id"], unique=False)
    op.create_index("idx_fk_original_language_id", "film", ["original_language_id"], unique=False)
    op.create_index("idx_title", "film", ["title"], unique=False)
    op.create_table(
        "address",
        sa.Column("address_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("address2", sa.Text(), nullable=True),
        sa.Column("district", sa.Text(), nullable=False),
        sa.Column("city_id", sa.Integer(), nullable=False),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["city_id"], ["city.city_id"], name=op.f("address_city_id_fkey")),
        sa.PrimaryKeyConstraint("address_id", name=op.f("address_pkey")),
    )
    op.create_index("idx_fk_city_id", "address", ["city_id"], unique=False)
    op.create_table(
        "film_actor",
        sa.Column("actor_id", sa.Integer(), nullable=False),
        sa.Column("film_id", sa.Integer(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["actor.actor_id"], name=op.f("film_actor_actor_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["film_id"], ["film.film_id"], name=op.f("film_actor_film_id_fkey")
        ),
        sa.PrimaryKeyConstraint("actor_id", "film_id", name=op.f("film_actor_pkey")),
    )
    op.create_index("idx_fk_film_id", "film_actor", ["film_id"], unique=False)
    op.create_table(
        "film_category",
        sa.Column("film_id", sa.Integer(), nullable=False),
        sa.Column("category_id", sa.Integer(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["category_id"], ["category.category_id"], name=op.f("film_category_category_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["film_id"], ["film.film_id"], name=op.f("film_category_film_id_fkey")
        ),
        sa.PrimaryKeyConstraint("film_id", "category_id", name=op.f("film_category_pkey")),
    )
    op.create_table(
        "store",
        sa.Column("store_id", sa.Integer(), nullable=False),
        sa.Column("manager_staff_id", sa.Integer(), nullable=False),
        sa.Column("address_id", sa.Integer(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["address_id"], ["address.address_id"], name=op.f("store_address_id_fkey")
        ),
        sa.PrimaryKeyConstraint("store_id", name=op.f("store_pkey")),
    )
    op.create_index("idx_unq_manager_staff_id", "store", ["manager_staff_id"], unique=True)
    op.create_table(
        "customer",
        sa.Column("customer_id", sa.Integer(), nullable=False),
        sa.Column("store_id", sa.Integer(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("address_id", sa.Integer(), nullable=False),
        sa.Column("activebool", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("create_date", sa.Date(), server_default=sa.text("CURRENT_DATE"), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=True),
        sa.Column("active", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["address_id"], ["address.address_id"], name=op.f("customer_address_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["store_id"], ["store.store_id"], name=op.f("customer_store_id_fkey")
        ),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("customer_pkey")),
    )
    op.create_index("idx_fk_address_id", "customer", ["address_id"], unique=False)
    op.create_index("idx_fk_store_id", "customer", ["store_id"], unique=False)
    op.create_index("idx_last_name", "customer", ["last_name"], unique=False)
    op.create_table(
        "inventory",
        sa.Column("inventory_id", sa.Integer(), nullable=False),
        sa.Column("film_id", sa.Integer(), nullable=False),
        sa.Column("store_id", sa.Integer(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["film_id"], ["film.film_id"], name=op.f("inventory_film_id_fkey")),
        sa.ForeignKeyConstraint(
            ["store_id"], ["store.store_id"], name=op.f("inventory_store_id_fkey")
        ),
        sa.PrimaryKeyConstraint("inventory_id", name=op.f("inventory_pkey")),
    )
    op.create_index("idx_store_id_film_id", "inventory", ["store_id", "film_id"], unique=False)
    op.create_table(
        "staff",
        sa.Column("staff_id", sa.Integer(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("address_id", sa.Integer(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("store_id", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["address_id"], ["address.address_id"], name=op.f("staff_address_id_fkey")
        ),
        sa.ForeignKeyConstraint(["store_id"], ["store.store_id"], name=op.f("staff_store_id_fkey")),
        sa.PrimaryKeyConstraint("staff_id", name=op.f("staff_pkey")),
    )
    op.create_table(
        "rental",
        sa.Column("rental_id", sa.Integer(), nullable=False),
        sa.Column("rental_date", UtcDateTime(), nullable=False),
        sa.Column("inventory_id", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.Integer(), nullable=False),
        sa.Column("return_date", UtcDateTime(), nullable=True),
        sa.Column("staff_id", sa.Integer(), nullable=False),
        sa.Column("last_update", UtcDateTime(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.customer_id"], name=op.f("rental_customer_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["inventory_id"], ["inventory.inventory_id"], name=op.f("rental_inventory_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["staff_id"], ["staff.staff_id"], name=op.f("rental_staff_id_fkey")
        ),
        sa.PrimaryKeyConstraint("rental_id", name=op.f("rental_pkey")),
    )
    op.create_index("idx_fk_inventory_id", "rental", ["inventory_id"], unique=False)
    op.create_index(
        "idx_unq_rental_rental_date_inventory_id_customer_id",
        "rental",
        ["rental_date", "inventory_id", "customer_id"],
        unique=True,
    )


def downgrade() -> None:
    """Drop the tables with all their rows."""
    for table in reversed(TABLES):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TYPE mpaa_rating")
