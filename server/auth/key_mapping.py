"""Keys of access tokens as messages."""

from collections.abc import Iterable

from server.auth.keys import SigningKey
from server.generated.interview.auth.v1.auth_service_pb2 import JsonWebKey, JsonWebKeySet


def json_web_key_set(keys: Iterable[SigningKey]) -> JsonWebKeySet:
    """Write a JsonWebKeySet: public parts alone."""
    return JsonWebKeySet(keys=[JsonWebKey(**key.public_jwk) for key in keys])
