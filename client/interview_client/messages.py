"""Every message and enum of the API, in one place to import from.

They are dataclasses: `Film(name="films/1", title="Tremors")`. A field of a `oneof` and an
`optional` field is None when it is not set; timestamps are datetimes with UTC as their zone,
durations are timedeltas. `kind_of` tells which member of a chat event is set.
"""
# ruff: noqa: F403, PLC0414  # re-exported, which `as` says to type checkers

from .generated.google.protobuf import Struct as Struct
from .generated.google.rpc import Status as Status
from .generated.google.type import Money as Money
from .generated.interview.agent.v1 import *
from .generated.interview.auth.v1 import *
from .generated.interview.catalogue.v1 import *
from .generated.interview.errors.v1 import ErrorReason as ErrorReason
from .generated.interview.options.v1 import CredentialKind as CredentialKind
