"""Encryption of what leaves the gateways: for an engine, and for an object storage.

It is AES-256-GCM. Each text has a key of its own, derived from the secret by HMAC-SHA256 and 16 random bytes, so that
no number of texts wears a secret out.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.regular_file import opened_regular

KEY_BYTES: Final = 32
MAX_KEYS: Final = 16
MAX_FILE_BYTES: Final = 4_096

MARK: Final = b"RGE1"
"""How an encrypted text begins: a JSON text, and what msgpack makes of a list, begin otherwise."""

ID_BYTES: Final = 8
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_HEAD: Final = len(MARK) + ID_BYTES
_START: Final = _HEAD + _SALT_BYTES + _NONCE_BYTES

OVERHEAD: Final = _START + _TAG_BYTES
"""By how many bytes an encrypted text is longer."""


class UnreadablePayload(Exception):
    """A text cannot be decrypted; the message says why, in one line without secrets."""


class PayloadKeys:
    """Secrets of 32 bytes, of which the first encrypts and all decrypt, so that one can take the place of another."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = {_id_of(secret): secret for secret in secrets}
        self._first = _id_of(secrets[0])

    @property
    def first_id(self) -> str:
        """The name of the secret that encrypts. It tells nothing of the secret."""
        return self._first.hex()

    def has(self, key_id: str) -> bool:
        """Whether there is a secret of this name."""
        return any(known.hex() == key_id for known in self._secrets)

    def encrypted(self, data: bytes, place: bytes = b"") -> bytes:
        """The encrypted text of `data`, which can only be decrypted for the same `place`."""
        head, salt, nonce = MARK + self._first, os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
        cipher = _cipher(self._secrets[self._first], salt)
        return b"".join((head, salt, nonce, cipher.encrypt(nonce, data, head + place)))

    def decrypted(self, data: bytes, place: bytes = b"") -> bytes:
        """What was encrypted for a place. Raises UnreadablePayload if its secret is not here, or it was changed."""
        if len(data) < OVERHEAD or not is_encrypted(data):
            raise UnreadablePayload("it is not encrypted as a whole")
        secret = self._secrets.get(data[len(MARK) : _HEAD])
        if secret is None:
            raise UnreadablePayload(f"it is encrypted with the key {key_id_of(data)}, which this gateway does not have")
        salt, nonce = data[_HEAD : _HEAD + _SALT_BYTES], data[_HEAD + _SALT_BYTES : _START]
        try:
            return _cipher(secret, salt).decrypt(nonce, data[_START:], data[:_HEAD] + place)
        except InvalidTag:
            raise UnreadablePayload("it has been changed") from None


def is_encrypted(data: bytes) -> bool:
    """Whether a text is encrypted, or seems to be."""
    return data.startswith(MARK)


def key_id_of(data: bytes) -> str:
    """The name of the key with which a text is encrypted."""
    return data[len(MARK) : _HEAD].hex()


def parse_payload_keys(content: bytes) -> PayloadKeys:
    """The keys in a file: its lines, in base64. Raises ValueError, without secrets, if one is none."""
    lines = [line for each in content.splitlines() if (line := each.strip())]
    if not 1 <= len(lines) <= MAX_KEYS:
        raise ValueError(f"expected 1 to {MAX_KEYS} keys, each in a line of its own")
    return PayloadKeys([_secret(line) for line in lines])


def read_payload_keys(path: str) -> PayloadKeys:
    """The keys in the file at a path. Raises ValueError as `parse_payload_keys` does, and OSError."""
    with opened_regular(path) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"expected {MAX_FILE_BYTES:,} bytes at most")
    return parse_payload_keys(content)


def _secret(line: bytes) -> bytes:
    try:
        secret = base64.b64decode(line, validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ValueError(f"expected keys of {KEY_BYTES} bytes in base64, as `openssl rand -base64 32` makes them")
    return secret


def _id_of(secret: bytes) -> bytes:
    return hashlib.sha256(b"runs-gateway payload key id\0" + secret).digest()[:ID_BYTES]


def _cipher(secret: bytes, salt: bytes) -> AESGCM:
    return AESGCM(hmac.digest(secret, b"runs-gateway payload\0" + salt, "sha256"))
