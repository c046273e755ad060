"""A method of a servicer, as it is served over HTTP."""

from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from gateway.adapter.health_contract import health_contract
from gateway.fronts.grpc.calls import unguarded
from gateway.fronts.grpc.grpcio_server import MethodHandler
from gateway.fronts.grpc.observed_context import observed_method
from gateway.fronts.grpc.request_length import Deserializer, bounded


class WebMethod:
    """The method at `path`, `/SERVICE/METHOD`, which `handler` answers.

    `takes_many` and `gives_many`: its requests, or its answers, are streams. `reads_only`: it changes nothing, so that
    a GET may call it. `request` and `response` are the classes of its messages.
    """

    __slots__ = (
        "deserialize",
        "gives_many",
        "observed",
        "path",
        "reads_only",
        "request",
        "response",
        "serialize",
        "serve",
        "takes_many",
    )

    def __init__(self, path: str, handler: MethodHandler) -> None:
        self.path = path
        self.observed = observed_method(path, handler)
        self.takes_many = handler.request_streaming
        self.gives_many = handler.response_streaming
        self.serve = unguarded(
            handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        )
        self.deserialize: Deserializer = bounded(handler.request_deserializer)
        self.serialize: Callable[[Any], bytes] = handler.response_serializer or bytes
        service, _, name = path.lstrip("/").rpartition("/")
        described = _contract(service).methods_by_name[name]
        self.request = message_factory.GetMessageClass(described.input_type)
        self.response = message_factory.GetMessageClass(described.output_type)
        self.reads_only = described.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS

    @property
    def is_unary(self) -> bool:
        """Whether it takes one message and gives one."""
        return not (self.takes_many or self.gives_many)


def _contract(service: str) -> ServiceDescriptor:
    health = health_contract()
    return health if service == health.full_name else descriptor_pool.Default().FindServiceByName(service)
