"""The two forms of messages: as protobuf writes them, and JSON. Servicers know the first one alone."""

from typing import Any, Final, Protocol

from gateway.adapter.message_from_json import from_json
from gateway.adapter.message_json import Hold
from gateway.adapter.message_to_json import to_json
from gateway.concurrency.time_slice import Checkpoints


class MessageForm(Protocol):
    """How messages are written. `name` is that in content types.

    `pace` lets others work meanwhile; `hold` is told how many bytes more are held, and may raise.
    """

    name: str
    as_it_is: bool
    """Whether it is that of servicers."""

    async def read(self, data: bytes, kind: Any, pace: Checkpoints, hold: Hold) -> bytes:
        """The bytes of protobuf of a message of a class. Raises InvalidParams, InvalidRequest, and TooLarge."""

    async def write(self, data: bytes, kind: Any, pace: Checkpoints, hold: Hold) -> bytes:
        """The other way round."""


class _ProtoForm:
    name = "proto"
    as_it_is = True

    async def read(self, data: bytes, kind: Any, pace: Checkpoints, hold: Hold) -> bytes:
        return data

    async def write(self, data: bytes, kind: Any, pace: Checkpoints, hold: Hold) -> bytes:
        return data


class _JsonForm:
    name = "json"
    as_it_is = False

    async def read(self, data: bytes, kind: Any, pace: Checkpoints, hold: Hold) -> bytes:
        return await from_json(data, kind, pace, hold)

    async def write(self, data: bytes, kind: Any, pace: Checkpoints, hold: Hold) -> bytes:
        return await to_json(data, kind, pace, hold)


PROTO: Final = _ProtoForm()
JSON: Final = _JsonForm()
FORMS: Final[dict[str, MessageForm]] = {"proto": PROTO, "json": JSON}
