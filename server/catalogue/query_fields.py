"""What films can be filtered and ordered by, read from the contract's `query` options.

So the docs, the filter compiler and its error texts have one source.
"""

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor

from server.catalogue.filters import FieldKind, Fields, FieldSpec
from server.generated.interview.catalogue.v1 import resources_pb2
from server.generated.interview.options.v1 import options_pb2

_COLLECTIONS = {
    "name": "films/",
    "language": "languages/",
    "original_language": "languages/",
    "categories": "categories/",
    "actors": "actors/",
}
_SCALAR_KINDS = {
    FieldDescriptor.TYPE_STRING: FieldKind.STRING,
    FieldDescriptor.TYPE_BOOL: FieldKind.BOOLEAN,
    FieldDescriptor.TYPE_INT32: FieldKind.NUMBER,
}
_MESSAGE_KINDS = {
    "google.type.Money": FieldKind.MONEY,
    "google.protobuf.Timestamp": FieldKind.TIMESTAMP,
}


def film_fields() -> Fields:
    """Return the fields of a film that have a `query` option, by path."""
    return {
        path: spec for field in resources_pb2.Film.DESCRIPTOR.fields for path, spec in _specs(field)
    }


def _specs(field: FieldDescriptor) -> Iterator[tuple[str, FieldSpec]]:
    options = field.GetOptions()
    if not options.HasExtension(options_pb2.query):
        return
    query = options.Extensions[options_pb2.query]
    if field.message_type is not None and field.message_type.full_name not in _MESSAGE_KINDS:
        for part in field.message_type.fields:
            spec = FieldSpec(FieldKind.STRING, filterable=True, repeated=part.is_repeated)
            yield f"{field.name}.{part.name}", spec
        return
    kind, prefix, values = _kind(field)
    yield (
        field.name,
        FieldSpec(
            kind,
            filterable=query.filterable,
            sortable=query.sortable,
            text_searchable=query.text_searchable,
            enum_values=values,
            repeated=field.is_repeated,
            prefix=prefix,
        ),
    )


def _kind(field: FieldDescriptor) -> tuple[FieldKind, str, tuple[str, ...]]:
    if field.message_type is not None:
        return _MESSAGE_KINDS[field.message_type.full_name], "", ()
    if field.enum_type is not None:
        names = [value.name for value in field.enum_type.values]
        prefix = names[0].removesuffix("UNSPECIFIED")
        return FieldKind.ENUM, prefix, tuple(name.removeprefix(prefix) for name in names[1:])
    if field.name in _COLLECTIONS:
        return FieldKind.RESOURCE_NAME, _COLLECTIONS[field.name], ()
    if field.name == "release_year":
        return FieldKind.YEAR, "", ()
    return _SCALAR_KINDS[field.type], "", ()
