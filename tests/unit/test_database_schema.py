"""A program serves its own schema, later ones that name it, and no other."""

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from server.database.migrate import MIGRATIONS
from server.database.schema import SchemaRefused, is_later, number, oldest

KNOWN = ("0001", "0002", "0003_from_0002")
HEAD = "0003_from_0002"


@pytest.mark.parametrize("found", KNOWN)
def test_a_revision_of_this_version_is_not_later(found: str) -> None:
    assert is_later(found, KNOWN, HEAD) is False


@pytest.mark.parametrize("found", ["0004_from_0003", "0009_from_0001", "9999_from_0003"])
def test_a_later_revision_that_names_this_version_or_an_older_one_is_served(found: str) -> None:
    assert is_later(found, KNOWN, HEAD) is True


@pytest.mark.parametrize("found", ["0004", "0005_from_0004", "0009_from_0009"])
def test_a_later_revision_that_does_not_is_refused(found: str) -> None:
    with pytest.raises(SchemaRefused, match="of a later version, and this one, which ends at"):
        is_later(found, KNOWN, HEAD)


@pytest.mark.parametrize(
    "found",
    ["", "5f3c2a", "ae1027a6acf0", "1", "00004", "0003", "0002_from_0001", "0004_from_", "1, 2"],
)
def test_a_revision_that_no_version_made_is_refused(found: str) -> None:
    with pytest.raises(SchemaRefused, match="which is none of this program's"):
        is_later(found, KNOWN, HEAD)


def test_the_migrations_count_up_and_serve_no_version_later_than_themselves() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    revisions = ScriptDirectory.from_config(config).walk_revisions("base", "heads")
    names = [script.revision for script in revisions][::-1]
    assert [number(name) for name in names] == list(range(1, len(names) + 1))
    for name in names:
        assert 1 <= oldest(name) <= number(name)
