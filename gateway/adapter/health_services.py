"""The services that the health service knows, and the answer of its method List: a map from their names to states.

Older packages do not have the message HealthListResponse.
"""

from collections.abc import Mapping
from typing import Any, Final

from grpc_health.v1 import health_pb2

from gateway.adapter.proto_wire import field_at, length_prefix

LIST_METHOD: Final = "/grpc.health.v1.Health/List"

COMPONENTS: Final = "components"
"""What the names of services that are components begin with; the prefix of their paths follows."""


def encode_services(states: Mapping[str, Any]) -> bytes:
    """The answer that tells the states of these services."""
    return b"".join(_field(1, _field(1, name.encode()) + _field(2, _told(state))) for name, state in states.items())


def service_names(answer: bytes) -> list[str]:
    """The names of the services in an answer. Raises DecodeError if it is malformed."""
    names = []
    place = 0
    while place < len(answer):
        entry = field_at(answer, place, len(answer))
        name = field_at(answer, entry.start, entry.stop)
        names.append(answer[name.start : name.stop].decode())
        place = entry.stop
    return names


def _told(state: Any) -> bytes:
    return health_pb2.HealthCheckResponse(status=state).SerializeToString()


def _field(number: int, content: bytes) -> bytes:
    return length_prefix(number, len(content)) + content
