"""What users can be filtered and ordered by, read from the contract's `query` options."""

from typing import Final

from server.core.roles import ROLES
from server.generated.interview.auth.v1 import resources_pb2
from server.query.fields import Meaning, query_fields
from server.query.filter_types import FieldKind, Fields

# There are only so many roles, so a wrong one is refused and answered with those there are.
_MEANINGS: Final = {"roles": Meaning(FieldKind.ENUM, "roles/", tuple(ROLES))}


def user_fields() -> Fields:
    """Return the fields of a user that have a `query` option, by path."""
    return query_fields(resources_pb2.User.DESCRIPTOR, _MEANINGS)
