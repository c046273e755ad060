"""Calls of methods that there are not. Left to itself, grpcio refuses them without telling anybody."""

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from gateway.core.errors import GatewayError
from gateway.fronts.grpc.calls import Context, abort
from gateway.fronts.grpc.connections import Connections
from gateway.fronts.grpc.observed_context import observing
from gateway.telemetry.call_metrics import grpc_cells
from gateway.telemetry.metrics import OTHER
from gateway.telemetry.observed_calls import ObservedMethod
from gateway.telemetry.semconv import OTHER_METHOD

_MESSAGE: Final = "Method not found!"
"""In the words of grpcio, without details of ours: clients know by it that no method has refused."""


class UnknownMethods(grpc.GenericRpcHandler):
    """Refuses calls that no other handler serves; they are counted and observed together. It has to be the last one."""

    def __init__(self, connections: Connections) -> None:
        method = ObservedMethod("grpc", OTHER_METHOD, grpc_cells("unary", OTHER, OTHER))
        serve = observing(_refusing(connections), method, many=True)
        self._handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(serve)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """What refuses the call, whatever its method."""
        return self._handler


def _refusing(connections: Connections) -> Any:
    async def refuse(requests: AsyncIterator[Any], context: Context) -> None:
        del requests
        try:
            context.call.source = connections.begin(context)  # type: ignore[attr-defined]
        except GatewayError as error:
            ending = abort(context, error)
        else:
            ending = context.abort(grpc.StatusCode.UNIMPLEMENTED, _MESSAGE)
        # The context of an aborted call holds its exception, and thereby this frame.
        del context
        await ending

    return refuse
