"""The services that the health service knows, the reason of a state, and the answer of its method List.

That is a map from names to states. Older packages do not have the message HealthListResponse.
"""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.unknown_fields import UnknownFieldSet
from grpc_health.v1 import health_pb2

from gateway.adapter.proto_wire import field_at, length_prefix

LIST_METHOD: Final = "/grpc.health.v1.Health/List"

COMPONENTS: Final = "components"
"""What the names of services that are components begin with; the prefix of their paths follows."""


_REASON: Final = 50_000
"""The number of a field beside the state of a service, which is beyond those that gRPC gives. Readers that do not know
it skip it; the processes of one gateway read it."""


def health_response(state: Any, reason: str | None) -> health_pb2.HealthCheckResponse:
    """The answer that tells the state of a service, and why it is that, in words for clients."""
    response = health_pb2.HealthCheckResponse(status=state)
    if reason is not None:
        response.MergeFromString(_field(_REASON, reason.encode(errors="replace")))
    return response


def reason_of(response: health_pb2.HealthCheckResponse) -> str | None:
    """The reason in an answer; None if it has none."""
    unknown: Any = UnknownFieldSet(response)
    for field in unknown:
        if field.field_number == _REASON and isinstance(field.data, bytes):
            return field.data.decode(errors="replace")
    return None


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
