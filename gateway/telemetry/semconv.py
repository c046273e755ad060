"""The names of what spans carry: those of OpenTelemetry's conventions for calls, and those of this gateway.

The conventions for calls have old names and new ones. `OTEL_SEMCONV_STABILITY_OPT_IN` asks for the new ones by `rpc`,
and for both by `rpc/dup`; without it, the old ones are written, as every instrumentation does.
"""

import os
from typing import Final, Literal, NamedTuple, Self, TypeAlias

from opentelemetry.util.types import AttributeValue

RUN_ID: Final = "runs.run.id"
FLOW_ID: Final = "runs.flow.id"
ITEM_INDEX: Final = "runs.item.index"
STEP_ID: Final = "runs.step.id"
COMPONENT: Final = "runs.component"
ATTEMPT: Final = "runs.attempt"
"""The number of an attempt to execute a component, counted from 1."""

FIRST_MESSAGE: Final = "first message"
"""The event of a stream that begins to be answered."""
RESUME: Final = "resume"
"""The event of a stream that goes on from where an earlier one was."""
END: Final = "end"
"""The event of a stream whose last message has been sent."""
ATTEMPT_FAILED: Final = "attempt failed"
"""The event of a step whose component has failed. Unless it was the last one, another attempt follows."""
CANCELLED: Final = "cancelled"
"""The event of what nobody needed any more, or whose run was cancelled."""
STOPPED: Final = "stopped"
"""The event of an item that was executing when the gateway stopped: it executes again when its run goes on."""

ERROR_TYPE: Final = "error.type"
PEER_ADDRESS: Final = "network.peer.address"
PEER_PORT: Final = "network.peer.port"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

OTHER_METHOD: Final = "_OTHER"
"""The name of a method that nobody knows: what a client made up is no name."""

RpcSystem: TypeAlias = Literal["grpc", "jsonrpc"]

SpanAttributes: TypeAlias = dict[str, AttributeValue]

GRPC_CODES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The status codes of gRPC, by their numbers."""

_NUMBERS: Final = {code: number for number, code in enumerate(GRPC_CODES)}

SERVER_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""The codes that are errors to a server. All others but OK are so to a client only."""


class RpcNames(NamedTuple):
    """Which names the spans of calls have."""

    old: bool = True
    new: bool = False

    @classmethod
    def asked_for(cls, stability_opt_in: str) -> Self:
        """The names that the variable `OTEL_SEMCONV_STABILITY_OPT_IN` asks for."""
        asked = {each.strip().lower() for each in stability_opt_in.split(",")}
        both = "rpc/dup" in asked
        new = both or "rpc" in asked
        return cls(old=both or not new, new=new)

    def of_method(self, system: RpcSystem, method: str) -> SpanAttributes:
        """What a call has from its start. `method` is the full name of one that is known: `SERVICE/METHOD`, over gRPC.

        With both kinds of names, `rpc.method` has its new meaning.
        """
        attributes: SpanAttributes = {}
        if self.old:
            attributes["rpc.system"] = system
            service, slash, name = method.rpartition("/")
            if system == "grpc" and slash:
                attributes["rpc.service"] = service
                attributes["rpc.method"] = name
            else:
                attributes["rpc.method"] = method
            if system == "jsonrpc":
                attributes["rpc.jsonrpc.version"] = "2.0"
        if self.new:
            attributes["rpc.system.name"] = system
            attributes["rpc.method"] = method
            if system == "jsonrpc":
                attributes["jsonrpc.protocol.version"] = "2.0"
        return attributes

    def of_code(self, system: RpcSystem, code: str) -> SpanAttributes:
        """What tells how a call has ended: a name of `GRPC_CODES`, or the number of an error of JSON-RPC as text.

        A call of JSON-RPC that is answered has no code: pass "" then.
        """
        attributes: SpanAttributes = {}
        if not code:
            return attributes
        if self.old:
            if system == "grpc":
                attributes["rpc.grpc.status_code"] = _NUMBERS[code]
            else:
                attributes["rpc.jsonrpc.error_code"] = int(code)
        if self.new:
            attributes["rpc.response.status_code"] = code
        return attributes

    def of_request_id(self, request_id: str) -> SpanAttributes:
        """The id of a request of JSON-RPC. It must have been bounded."""
        attributes: SpanAttributes = {}
        if self.old:
            attributes["rpc.jsonrpc.request_id"] = request_id
        if self.new:
            attributes["jsonrpc.request.id"] = request_id
        return attributes


def server_attributes(address: str) -> SpanAttributes:
    """What tells where a call goes: to `HOST:PORT`, `unix:PATH`, or a URL. Credentials in it are left out."""
    if address.startswith("unix:"):
        return {SERVER_ADDRESS: address.removeprefix("unix:")}
    place = address.rpartition("://")[2].partition("/")[0].rpartition("@")[2]
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal():
        return {SERVER_ADDRESS: place} if place else {}
    return {SERVER_ADDRESS: host.strip("[]"), SERVER_PORT: int(port)}


RPC_NAMES: Final = RpcNames.asked_for(os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", ""))
"""Which names this process writes."""
