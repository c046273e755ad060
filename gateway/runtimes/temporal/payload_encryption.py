"""Encryption of what the engine sees of runs: inputs, results, memos, signals, queries, and texts of failures.

It does not see search attributes as anything else than they are: it has to find runs by them.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.converter import EncodingPayloadConverter, PayloadCodec

from gateway.runtimes.temporal.engine_errors import EngineFailure
from gateway.storage.payload_keys import PayloadKeys, UnreadablePayload

ENCODING: Final = b"binary/encrypted"
"""How tools of the engine know an encrypted payload."""

KEY_ID: Final = "encryption-key-id"

_LONG: Final = 256 << 10
"""More bytes are encrypted in a thread: it takes longer than a turn of the event loop may."""

_UNREADABLE: Final = "this gateway cannot read what another one has written"

_log = logging.getLogger(__name__)


class PayloadUnreadable(EngineFailure):
    """A payload is encrypted, and this gateway does not have the key. The log tells which one."""

    def __init__(self, what: str) -> None:
        super().__init__(_UNREADABLE, f"{_UNREADABLE}: {what} (--payload-key)")
        _log.error("%s", self.what)


class EncryptingCodec(PayloadCodec):
    """Encrypts payloads. Those that are not encrypted, as they were before there were keys, are read as well."""

    def __init__(self, keys: PayloadKeys) -> None:
        self._keys = keys

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The encrypted payloads."""
        return await _each(payloads, self._encoded)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads as they were. Raises PayloadUnreadable."""
        try:
            return await _each(payloads, self._decoded)
        except UnreadablePayload as error:
            raise PayloadUnreadable(str(error)) from None

    def _encoded(self, payload: Payload) -> Payload:
        key_id = self._keys.first_id.encode()
        data = self._keys.encrypted(payload.SerializeToString())
        return Payload(metadata={"encoding": ENCODING, KEY_ID: key_id}, data=data)

    def _decoded(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        return Payload.FromString(self._keys.decrypted(payload.data))


class EncryptedPayloads(EncodingPayloadConverter):
    """Says of payloads that are encrypted that this gateway has no key, and writes none."""

    @property
    def encoding(self) -> str:
        """That of encrypted payloads."""
        return ENCODING.decode()

    def to_payload(self, value: Any) -> Payload | None:
        """Nothing."""
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """Raises PayloadUnreadable."""
        raise PayloadUnreadable("it is encrypted, and this gateway has no key")


async def _each(payloads: Sequence[Payload], work: Callable[[Payload], Payload]) -> list[Payload]:
    return [
        await asyncio.to_thread(work, payload) if len(payload.data) > _LONG else work(payload) for payload in payloads
    ]
