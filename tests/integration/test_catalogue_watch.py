"""WatchCatalogue: every change once, in order, to whoever watches, on both databases."""

import grpc
import pytest

from server.generated.interview.catalogue.v1 import change_pb2 as pb
from server.generated.interview.catalogue.v1 import taxonomy_pb2
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from tests.support.running import ADMIN, Running
from tests.support.statuses import refused, told_by
from tests.support.watch_desk import WatchDesk, settled, skip_revision


@pytest.fixture
async def desk(shared: Running) -> WatchDesk:
    """An administrator who watches."""
    return WatchDesk(shared, await shared.sign_in(ADMIN))


async def test_a_watch_tells_what_changes_from_now_on(desk: WatchDesk) -> None:
    before = await desk.create(title="BEFORE THE WATCH")
    async with desk.watch(include_previous=True) as watch:
        made = await desk.create(title="A WATCHED FILM", description="d", actors=["actors/1"])
        created = await watch.change()
        assert created.change_type == pb.CHANGE_TYPE_CREATED
        assert created.resource_kind == pb.RESOURCE_KIND_FILM
        assert created.resource_name == made.name
        assert created.resource.film == made
        assert not created.HasField("previous")
        assert not created.changed_fields.paths
        assert created.principal.startswith("users/")
        changed = await desk.update(made.name, title="RENAMED", length_minutes=90)
        updated = await watch.change()
        assert updated.change_type == pb.CHANGE_TYPE_UPDATED
        assert updated.resource.film == changed
        assert updated.previous.film == made
        assert sorted(updated.changed_fields.paths) == ["length_minutes", "title"]
        assert updated.revision == changed.revision
        deleted = await desk.delete(made.name)
        gone = await watch.change()
        assert (gone.change_type, gone.resource.film) == (pb.CHANGE_TYPE_DELETED, deleted)
        revisions = [created.revision, updated.revision, gone.revision]
        assert revisions == list(range(revisions[0], revisions[0] + 3))
        assert before.name not in {message.change.resource_name for message in watch.told}
