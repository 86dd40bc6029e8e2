"""Changes of one user, or of the last administrators, at the same time, on both databases."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete

from server.auth.models import AppUserRole
from server.core.resource_names import user_id_of
from server.generated.interview.auth.v1 import resources_pb2 as resources
from tests.support.amount import amount
from tests.support.running import running_server
from tests.support.user_desk import Desk, new_email, race

CALLERS = 20


@pytest.fixture
async def roomy(sample_database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """An administrator at a server that lets all callers in at a time."""
    async with running_server(sample_database_url, tmp_path, max_running_writes=CALLERS) as server:
        yield await Desk.open(server)


async def test_of_many_with_one_etag_one_wins(roomy: Desk) -> None:
    """ASVS 15.4.2: what is checked is still so when it is written."""
    made = await roomy.create(initial_password="")
    for round_ in range(amount(3, 100)):
        before = await roomy.get(made.name)
        update = partial(roomy.update, made.name, etag=before.etag)
        names = [f"{round_}-{number}" for number in range(CALLERS)]
        (won,), lost = await race(partial(update, display_name=name) for name in names)
        assert [told.reason for told in lost] == ["ETAG_MISMATCH"] * (CALLERS - 1)
        assert {told.metadata["current_etag"] for told in lost} == {won.etag}
        assert await roomy.get(made.name) == won


async def test_of_many_that_take_one_address_one_gets_it(roomy: Desk) -> None:
    """ASVS 15.4.2: that an address is free is checked as it is taken."""
    made = [await roomy.create(initial_password="") for _ in range(4)]
    for _ in range(amount(2, 50)):
        email = new_email()
        (won,), lost = await race(partial(roomy.update, user.name, email=email) for user in made)
        assert won.email == email
        assert [told.reason for told in lost] == ["RESOURCE_EXISTS"] * 3


async def test_of_many_that_give_and_take_roles_none_is_lost(roomy: Desk) -> None:
    """ASVS 15.4.2: changes of one user at the same time all count."""
    made = await roomy.create(initial_password="", roles=["roles/viewer"])
    for _ in range(amount(2, 50)):
        before = await roomy.get(made.name)
        given = ["roles/staff", "roles/manager", "roles/customer"]
        asks = [partial(roomy.grant, made.name, role) for role in given]
        asks.append(partial(roomy.revoke, made.name, "roles/viewer"))
        _, refusals = await race(asks * 3)
        assert not refusals
        after = await roomy.get(made.name)
        assert list(after.roles) == sorted(given)
        assert after.etag != before.etag
        await race(partial(roomy.revoke, made.name, role) for role in given)
        await roomy.grant(made.name, "roles/viewer")


@pytest.fixture
async def referee(roomy: Desk) -> Desk:
    """Somebody who may do what administrators may, and is none for the server's count."""
    me = (await roomy.whoami()).user
    async with roomy.running.app.database.write() as write:
        await write.execute(
            delete(AppUserRole).where(AppUserRole.user_id == user_id_of(me.name[6:]))
        )
    return roomy


async def test_of_administrators_who_all_go_at_once_one_stays(referee: Desk) -> None:
    """ASVS 15.4.2: the check and the change are one step, whatever the change is."""
    stayed: resources.User | None = None
    for round_ in range(amount(4, 100)):
        made = [await referee.create(initial_password="", roles=["roles/admin"]) for _ in range(4)]
        if stayed is not None:
            await referee.delete(stayed.name)
        ways = (referee.suspend, referee.delete, referee.revoke_admin)
        _, failed = await race(
            partial(ways[(round_ + number) % 3], user.name) for number, user in enumerate(made)
        )
        assert [told.reason for told in failed] == ["WRONG_STATE"]
        after = [await referee.get(user.name) for user in made]
        (stayed,) = (user for user in after if _is_admin(user))
        assert failed[0].metadata["resource_name"] == stayed.name
        assert failed[0].metadata["state"] == "LAST_ACTIVE_ADMINISTRATOR"


def _is_admin(user: resources.User) -> bool:
    return user.state == resources.USER_STATE_ACTIVE and "roles/admin" in user.roles
