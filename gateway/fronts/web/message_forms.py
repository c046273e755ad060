"""The two forms of messages: as protobuf writes them, and JSON. Servicers know the first one alone."""

from typing import Any, Final, Protocol

from gateway.adapter.message_json import from_json, to_json


class MessageForm(Protocol):
    """How messages are written. `name` is that in content types."""

    name: str

    def read(self, data: bytes, kind: Any) -> bytes:
        """The bytes of protobuf of a message of a class. Raises InvalidParams, and InvalidRequest."""

    def write(self, data: bytes, kind: Any) -> bytes:
        """The other way round."""


class _ProtoForm:
    name = "proto"

    def read(self, data: bytes, kind: Any) -> bytes:
        return data

    def write(self, data: bytes, kind: Any) -> bytes:
        return data


class _JsonForm:
    name = "json"

    def read(self, data: bytes, kind: Any) -> bytes:
        serialized: bytes = from_json(data, kind).SerializeToString()
        return serialized

    def write(self, data: bytes, kind: Any) -> bytes:
        return to_json(kind.FromString(data))


PROTO: Final = _ProtoForm()
JSON: Final = _JsonForm()
FORMS: Final[dict[str, MessageForm]] = {"proto": PROTO, "json": JSON}
