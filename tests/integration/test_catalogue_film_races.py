"""Changes of films at the same time, on both databases: log, counts and films stay one."""

import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.support.amount import amount
from tests.support.film_desk import FilmDesk, changes_of, check_log
from tests.support.running import running_server
from tests.support.statuses import refused
from tests.support.user_desk import race

CALLERS = 20


@pytest.fixture
async def roomy(sample_database_url: str, tmp_path: Path) -> AsyncIterator[FilmDesk]:
    """Somebody at a server that lets all callers in at a time."""
    async with running_server(
        sample_database_url, tmp_path, max_running_writes=CALLERS, write_rate=0
    ) as server:
        yield await FilmDesk.open(server)


async def test_of_many_with_one_etag_one_wins(roomy: FilmDesk) -> None:
    """AIP-154, ASVS 15.4.2: what is checked is still so when it is written."""
    made = await roomy.create()
    for round_ in range(amount(2, 100)):
        before = await roomy.get(made.name)
        change = partial(roomy.update, made.name, etag=before.etag)
        titles = [f"{round_}-{number}" for number in range(CALLERS)]
        (won,), lost = await race(partial(change, title=title) for title in titles)
        assert [told.reason for told in lost] == ["ETAG_MISMATCH"] * (CALLERS - 1)
        assert {told.metadata["current_etag"] for told in lost} == {won.etag}
        assert {told.metadata["changed_fields"] for told in lost} == {"title"}
        assert await roomy.get(made.name) == won
    await check_log(roomy.running.app.database)


async def test_of_many_with_one_request_id_one_creates(roomy: FilmDesk) -> None:
    """AIP-155."""
    for _ in range(amount(2, 50)):
        before = len(await changes_of(roomy.running.app.database))
        create = partial(roomy.create, {"request_id": str(uuid4())}, title="ONCE")
        answers, refusals = await race([create] * CALLERS)
        assert refusals == []
        assert len({answer.name for answer in answers}) == 1
        assert all(answer == answers[0] for answer in answers)
        assert len(await changes_of(roomy.running.app.database)) == before + 1


async def test_films_that_are_created_at_a_time_get_numbers_of_their_own(roomy: FilmDesk) -> None:
    made, refusals = await race([roomy.create] * CALLERS)
    assert refusals == []
    assert len({film.name for film in made}) == CALLERS
    revisions = sorted(film.revision for film in made)
    assert revisions == list(range(revisions[0], revisions[0] + CALLERS))
    await check_log(roomy.running.app.database)


async def test_what_cannot_be_put_on_record_is_not_done(roomy: FilmDesk) -> None:
    """ASVS 16.2.1: a change and its record in the audit trail are there together, or neither."""
    database, made = roomy.running.app.database, await roomy.create()
    async with database.write() as write:
        await write.execute(text("ALTER TABLE audit_event RENAME TO audit_event_away"))
    before = await changes_of(database)
    for call in (
        roomy.create(),
        roomy.update(made.name, title="X"),
        roomy.delete(made.name),
    ):
        assert (await refused(call)).reason == "INTERNAL"
    assert await changes_of(database) == before
    assert await roomy.get(made.name) == made


@pytest.mark.parametrize("seed", range(amount(2, 40)))
async def test_whatever_comes_first_the_log_tells_it(roomy: FilmDesk, seed: int) -> None:
    """Of updates, deletions and undeletions in any order the log makes the films again."""
    chance = random.Random(seed)  # not a secret
    names = [(await roomy.create(categories=["categories/1"])).name for _ in range(3)]
    for _ in range(3):
        asks = [_any_change(roomy, chance, chance.choice(names)) for _ in range(CALLERS)]
        answers, refusals = await race(asks)
        assert {told.reason for told in refusals} <= {
            "RESOURCE_DELETED",
            "RESOURCE_EXISTS",
            "ETAG_MISMATCH",
        }
        revisions = {answer.revision: answer for answer in answers}
        for row in await changes_of(roomy.running.app.database):
            if row.revision in revisions:
                assert revisions[row.revision].name == f"films/{row.number}"
    assert await check_log(roomy.running.app.database) > len(names)


def _any_change(desk: FilmDesk, chance: random.Random, name: str) -> Callable[[], Any]:
    lists: dict[str, Any] = {
        "categories": [f"categories/{n}" for n in chance.sample(range(1, 6), 2)]
    }
    return chance.choice(
        [
            partial(desk.update, name, title=f"T{chance.random()}"),
            partial(desk.update, name, ["categories"], **lists),
            partial(desk.update, name, ["actors"], actors=[f"actors/{chance.randint(1, 5)}"]),
            partial(desk.delete, name),
            partial(desk.delete, name, allow_missing=True),
            partial(desk.undelete, name),
        ]
    )
