"""How messages are written for the engine: as JSON, which its own tools can show."""

import dataclasses
from typing import Any

import msgspec
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    BinaryNullPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    EncodingPayloadConverter,
)

from gateway.runtimes.temporal.payload_encryption import EncryptedPayloads, EncryptingCodec
from gateway.storage.payload_keys import PayloadKeys


class MessageConverter(EncodingPayloadConverter):
    """Writes messages of `gateway.runtimes.temporal.messages`, texts and numbers. Texts come back as they were."""

    @property
    def encoding(self) -> str:
        """As the engine's tools know it."""
        return "json/plain"

    def to_payload(self, value: Any) -> Payload | None:
        """The payload of a message."""
        return Payload(metadata={"encoding": b"json/plain"}, data=msgspec.json.encode(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The message of a payload. Raises msgspec.DecodeError if it is none of this type."""
        return msgspec.json.decode(payload.data, type=Any if type_hint is None else type_hint)


class MessageConverters(CompositePayloadConverter):
    """What is nothing, and messages; and what says that a message is encrypted."""

    def __init__(self) -> None:
        super().__init__(BinaryNullPayloadConverter(), MessageConverter(), EncryptedPayloads())


DATA_CONVERTER = dataclasses.replace(DataConverter.default, payload_converter_class=MessageConverters)


def data_converter(keys: PayloadKeys | None) -> DataConverter:
    """The converter of a gateway with these keys: what it writes is encrypted, if it has any."""
    if keys is None:
        return DATA_CONVERTER
    return dataclasses.replace(
        DATA_CONVERTER,
        payload_codec=EncryptingCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
