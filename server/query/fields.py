"""What a list can be filtered and ordered by, read from the contract's `query` options.

So the docs, the filter compiler and its error texts have one source.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from server.generated.interview.options.v1 import options_pb2
from server.query.filter_types import FieldKind, Fields, FieldSpec

_SCALAR_KINDS: Final = {
    FieldDescriptor.TYPE_STRING: FieldKind.STRING,
    FieldDescriptor.TYPE_BOOL: FieldKind.BOOLEAN,
    FieldDescriptor.TYPE_INT32: FieldKind.NUMBER,
}
_MESSAGE_KINDS: Final = {
    "google.type.Money": FieldKind.MONEY,
    "google.protobuf.Timestamp": FieldKind.TIMESTAMP,
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a field holds: its kind, and the `prefix` and `enum_values` of its FieldSpec."""

    kind: FieldKind
    prefix: str = ""
    enum_values: tuple[str, ...] = ()


def numbered(collection: str) -> Meaning:
    """Return what a field holds that names rows of a collection: `films/17`."""
    return Meaning(FieldKind.RESOURCE_NAME, f"{collection}/")


def query_fields(message: Descriptor, meanings: Mapping[str, Meaning]) -> Fields:
    """Return the message's fields that have a `query` option, by path.

    `meanings` says by a field's name what its type alone does not tell.
    """
    return {path: spec for field in message.fields for path, spec in _specs(field, meanings)}


def _specs(
    field: FieldDescriptor, meanings: Mapping[str, Meaning]
) -> Iterator[tuple[str, FieldSpec]]:
    options = field.GetOptions()
    if not options.HasExtension(options_pb2.query):
        return
    query = options.Extensions[options_pb2.query]
    if field.message_type is not None and field.message_type.full_name not in _MESSAGE_KINDS:
        for part in field.message_type.fields:
            spec = FieldSpec(FieldKind.STRING, filterable=True, repeated=part.is_repeated)
            yield f"{field.name}.{part.name}", spec
        return
    meaning = meanings.get(field.name) or _meaning(field)
    yield (
        field.name,
        FieldSpec(
            meaning.kind,
            filterable=query.filterable,
            sortable=query.sortable,
            text_searchable=query.text_searchable,
            enum_values=meaning.enum_values,
            repeated=field.is_repeated,
            prefix=meaning.prefix,
        ),
    )


def _meaning(field: FieldDescriptor) -> Meaning:
    if field.message_type is not None:
        return Meaning(_MESSAGE_KINDS[field.message_type.full_name])
    if field.enum_type is not None:
        names = [value.name for value in field.enum_type.values]
        prefix = names[0].removesuffix("UNSPECIFIED")
        return Meaning(
            FieldKind.ENUM, prefix, tuple(name.removeprefix(prefix) for name in names[1:])
        )
    return Meaning(_SCALAR_KINDS[field.type])
