"""Secrets put wherever a caller, a model or a database can put a text, to be looked for later."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

PLANTED = "planted"
"""Part of every secret: it must be in no status, no log, no banner and no metric."""
OWN = "ownword"
"""Stands in names, filters and tokens: a caller may hear of its own, the log may not."""

_OWN_FIELDS = frozenset(
    {"name", "names", "filter", "order_by", "page_token", "session", "if_none_match", "service"}
)
_MAX_DEPTH = 4
_SCALARS: dict[int, Any] = {
    FieldDescriptor.TYPE_BOOL: True,
    FieldDescriptor.TYPE_DOUBLE: 0.5,
    FieldDescriptor.TYPE_FLOAT: 0.5,
}


def planted_messages(kind: Descriptor) -> Iterator[Message]:
    """Yield messages with every text field filled; one for each member of a oneof."""
    members: list[Any] = [field for oneof in kind.oneofs for field in oneof.fields]
    for member in members or [None]:
        message: Message = GetMessageClass(kind)()
        _fill(message, 0, member)
        yield message


def _fill(message: Message, depth: int, member: Any = None) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and member is not None and field is not member:
            continue
        if field.message_type is not None:
            if depth < _MAX_DEPTH and not field.is_repeated:
                value = getattr(message, field.name)
                value.SetInParent()
                _fill(value, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).append(_value(field))
        else:
            setattr(message, field.name, _value(field))


def _value(field: Any) -> Any:
    word = OWN if field.name in _OWN_FIELDS else PLANTED
    if field.type == FieldDescriptor.TYPE_STRING:
        return f"{word} {field.name}"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return f"{word} {field.name}".encode()
    return _SCALARS.get(field.type, 1)
