"""Messages of any type with random contents at and beyond every limit, and random bytes of them."""

import random
import struct
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

MAX_DEPTH = 4
TEXTS = (
    "", "films/1", "films/0", "films/-1", "films/99999999999999999999", "categories/1", "a" * 300,
    "ü\u202e\U0001f600", "a\0b", "' OR 1=1 --", "%_\\", "title desc", "length > 100", "((((", "*",
    "ALL", "../../etc/passwd", "2024-01-01", "00000000-0000-0000-0000-000000000000", "\ufffe",
    "x" * 9000,
)  # fmt: skip
BYTES = (b"", b"\0", b"\xff\xfe", bytes(100))
NUMBERS = (0, 1, -1, 7, 1000, 2**31 - 1, -(2**31), 2**32, 2**63 - 1, -(2**63), 2**64 - 1)
FLOATS = (0.0, -1.5, 1e308, float("inf"), float("nan"))

_F = FieldDescriptor
_BITS = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32, _F.TYPE_ENUM), "i"),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), "q"),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), "I"),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), "Q"),
}


def random_message(kind: Descriptor, chance: random.Random, depth: int = 0) -> Message:
    """Return a message whose fields are set at random."""
    message: Message = GetMessageClass(kind)()
    for field in kind.fields:
        if chance.random() < 0.3 and not (field.message_type and depth == MAX_DEPTH):
            _set(message, field, chance, depth)
    return message


def _set(message: Message, field: FieldDescriptor, chance: random.Random, depth: int) -> None:
    if field.message_type and field.message_type.GetOptions().map_entry:
        return
    count = chance.choice((1, 2, 120)) if field.is_repeated else 1
    for _ in range(count):
        if field.message_type:
            value = random_message(field.message_type, chance, depth + 1)
            target = getattr(message, field.name)
            (target.add() if field.is_repeated else target).CopyFrom(value)
        elif field.is_repeated:
            getattr(message, field.name).append(_scalar(field, chance))
        else:
            setattr(message, field.name, _scalar(field, chance))


def _scalar(field: FieldDescriptor, chance: random.Random) -> Any:
    choices: Mapping[int, Callable[[], Any]] = {
        _F.TYPE_STRING: lambda: chance.choice(TEXTS),
        _F.TYPE_BYTES: lambda: chance.choice(BYTES),
        _F.TYPE_BOOL: lambda: chance.random() < 0.5,
        _F.TYPE_DOUBLE: lambda: chance.choice(FLOATS),
        _F.TYPE_FLOAT: lambda: chance.choice((0.0, -1.5, 1e30)),
    }
    if field.type in choices:
        return choices[field.type]()
    raw = (chance.choice(NUMBERS) % 2**64).to_bytes(8, "little")
    return struct.unpack_from("<" + _BITS[field.type], raw)[0]


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Change, cut, repeat or insert a few bytes."""
    data = bytearray(raw or b"\x0a\x01a")
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + chance.randint(1, 8)]
            case 2:
                data[at:at] = data[: chance.randint(1, 16)]
            case _:
                data[at:at] = chance.randbytes(chance.randint(1, 8))
    return bytes(data)
