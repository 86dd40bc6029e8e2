"""What the audit trail keeps of a request."""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.json_format import Error, MessageToDict
from google.protobuf.message import Message

MAX_KEPT_BYTES: Final = 8192
"""Of a larger request only its size is kept: the trail is no place for whole catalogues."""


def kept_of(request: Message) -> Mapping[str, Any]:
    """Return a request as JSON without the fields that are marked `debug_redact`."""
    size = request.ByteSize()
    if size > MAX_KEPT_BYTES:
        return {"omitted_bytes": size}
    kept = type(request)()
    kept.CopyFrom(request)
    _clear_secrets(kept)
    # Unknown fields are not among the names, so nothing that this version cannot judge is kept.
    try:
        return MessageToDict(kept, preserving_proto_field_name=True)
    except (Error, ValueError):
        # JSON cannot say everything, for instance a mask's path in camel case or the year 10000.
        return {"omitted_bytes": size}


def _clear_secrets(message: Message) -> None:
    for field, value in message.ListFields():
        if field.GetOptions().debug_redact:
            message.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for part in value if field.is_repeated else (value,):
                _clear_secrets(part)
