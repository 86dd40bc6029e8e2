"""Sealed text: what a client carries for the server and can neither read nor change.

Content is encrypted with AES-256-GCM. `purpose` says what the text is for and is part of what is
authenticated: text that was sealed for one purpose is not accepted for another.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12


class Sealing:
    """Seals and opens with a key derived from the server's secret, another one for each `use`."""

    def __init__(self, secret: bytes, use: bytes, random_bytes: Callable[[int], bytes]) -> None:
        key = HKDF(SHA256(), length=32, salt=None, info=use).derive(secret)
        self._cipher = AESGCM(key)
        self._random_bytes = random_bytes

    def seal(self, purpose: str, content: Mapping[str, Any]) -> str:
        """Return text of letters, digits, `-` and `_`."""
        nonce = self._random_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, orjson.dumps(content), _VERSION + purpose.encode())
        return base64.urlsafe_b64encode(_VERSION + nonce + sealed).rstrip(b"=").decode()

    def open(self, purpose: str, text: str) -> dict[str, Any]:
        """Return the content.

        Raises:
            ValueError: the text was not sealed here for this purpose.
        """
        raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        nonce, sealed = raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :]
        try:
            content = self._cipher.decrypt(nonce, sealed, raw[:1] + purpose.encode())
        except InvalidTag:
            raise ValueError("not sealed here for this purpose") from None
        return orjson.loads(content)  # type: ignore[no-any-return]  # we sealed a mapping
