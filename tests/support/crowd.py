"""A thousand users of every kind, the same in every run, and what a list of them should hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from sqlalchemy import insert

from server.auth.domain import ACTIVE, DELETED, SUSPENDED, User
from server.auth.models import AppUser, AppUserRole
from server.core.resource_names import user_id_of
from server.core.roles import ROLES
from server.database.engine import Database

DOMAIN: Final = "crowd.example"
ONLY: Final = f'email = "*@{DOMAIN}"'
"""A filter that leaves out who is there besides the crowd."""

# Locales order these otherwise than bytes do: signs, digits, case, accents.
_STEMS: Final = ("ann", "an-n", "an_n", "a.nn", "änn", "anñ", "z", "1ann", "ann1", "東")
_NAMES: Final = ("", "", "Ann Lee", "ann lee", "Émile", "Zoë", "O'Neil", "50% Bob", "B_b", "李")


def crowd(now: datetime, number: int = 1000) -> list[User]:
    """Return users as they are kept: some suspended, some deleted, some of these to be purged."""
    chance = Random(20260301)  # the same users in every run
    return [_user(index, chance, now) for index in range(number)]


def _user(index: int, chance: Random, now: datetime) -> User:
    chosen_id = f"crowd-{index}" if index % 3 == 0 else None
    created = now - timedelta(hours=chance.randrange(1, 200))  # some at the same moment
    user = User(
        user_id=user_id_of(chosen_id or f"crowd number {index}"),
        email=f"{chance.choice(_STEMS)}.{index}@{DOMAIN}",
        display_name=chance.choice(_NAMES),
        roles=tuple(sorted(chance.sample([*ROLES], chance.randrange(0, 3)))),
        state=chance.choice([ACTIVE, ACTIVE, ACTIVE, SUSPENDED, DELETED]),
        create_time=created,
        update_time=created,
        last_login_time=chance.choice([None, now - timedelta(minutes=chance.randrange(1, 90))]),
        password_change_time=created,
        chosen_id=chosen_id,
        customer_id=chance.choice([None, 130]),
        staff_id=chance.choice([None, 1]),
        revision=chance.randrange(1, 9),
    )
    if user.state != DELETED:
        return user
    deleted = now - timedelta(days=chance.choice([1, 29, 30, 31]))
    return replace(user, delete_time=deleted, purge_time=deleted + timedelta(days=30))


async def store(database: Database, users: Sequence[User]) -> None:
    """Store users with their roles. None of them can sign in."""
    roles = [{"user_id": user.user_id, "role": role} for user in users for role in user.roles]
    async with database.write() as write:
        await write.execute(insert(AppUser), [_row(user) for user in users])
        if roles:
            await write.execute(insert(AppUserRole), roles)


def _row(user: User) -> dict[str, Any]:
    columns = {column.name for column in AppUser.__table__.columns} - {"password_hash"}
    return {"password_hash": "", **{name: getattr(user, name) for name in columns}}


def seen(users: Sequence[User], now: datetime, *, show_deleted: bool = False) -> list[User]:
    """Return whom a list can hold, by address."""
    kept = [user for user in users if user.purge_time is None or user.purge_time > now]
    here = [user for user in kept if show_deleted or user.state != DELETED]
    return sorted(here, key=lambda user: user.email)


def conditions(now: datetime) -> Mapping[str, Callable[[User], bool]]:
    """Return filters and whom they mean."""
    day = (now - timedelta(hours=24)).isoformat()
    return {
        "state = ACTIVE": lambda user: user.state == ACTIVE,
        "state != USER_STATE_ACTIVE": lambda user: user.state != ACTIVE,
        "in(state, SUSPENDED, DELETED)": lambda user: user.state in {SUSPENDED, DELETED},
        'roles:"roles/admin"': lambda user: "admin" in user.roles,
        "roles:viewer": lambda user: "viewer" in user.roles,
        "in(roles, staff, manager)": lambda user: bool({"staff", "manager"} & {*user.roles}),
        "roles:*": lambda user: bool(user.roles),
        'email = "ANN*"': lambda user: user.email.startswith("ann"),
        'email = "*9@Crowd.Example"': lambda user: user.email.endswith("9@crowd.example"),
        'contains(email, "Ä")': lambda user: "ä" in user.email,
        'email >= "b"': lambda user: user.email >= "b",
        'display_name = "Ann*"': lambda user: user.display_name.startswith("Ann"),
        'display_name != "Ann Lee"': lambda user: user.display_name not in {"", "Ann Lee"},
        "display_name:*": lambda user: bool(user.display_name),
        "LEE": lambda user: "lee" in user.display_name.lower(),
        '"lee ann"': lambda user: user.display_name.lower() == "ann lee",
        'search("50% bob")': lambda user: user.display_name == "50% Bob",
        "b_B": lambda user: "b" in user.display_name.lower(),
        f'create_time > "{day}"': lambda user: user.create_time > now - timedelta(hours=24),
        'create_time <= ago("100h")': lambda user: user.create_time <= now - timedelta(hours=100),
        'last_login_time < ago("30m")': lambda user: (
            user.last_login_time is not None and user.last_login_time < now - timedelta(minutes=30)
        ),
        "NOT last_login_time:*": lambda user: user.last_login_time is None,
    }


Rank = Callable[[User], Any]


def _nothing_last(value: Any) -> tuple[bool, Any]:
    return (value is None, value)


_RANKS: Final[Mapping[str, Rank]] = {
    "email": lambda user: user.email,
    "display_name": lambda user: _nothing_last(user.display_name or None),
    "create_time": lambda user: user.create_time,
    "last_login_time": lambda user: _nothing_last(
        user.last_login_time and user.last_login_time.timestamp()
    ),
}


def ordered(users: Sequence[User], order_by: str) -> list[User]:
    """Return users in an order such as "display_name desc, email", and then by address."""
    found = sorted(users, key=lambda user: user.email, reverse=order_by.endswith(" desc"))
    for term in reversed([term.split() for term in order_by.split(",") if term.strip()]):
        found.sort(key=_RANKS[term[0]], reverse=term[1:] == ["desc"])
    return found
