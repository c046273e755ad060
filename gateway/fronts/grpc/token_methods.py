# ruff: noqa: N802 - the contract names the methods.
"""The method of the runs service that makes tokens."""

import grpc

from gateway.access.access import Access
from gateway.adapter import tokens_proto
from gateway.fronts.grpc.calls import CapacityLimiter, Context, handler
from gateway.fronts.grpc.connections import Connections
from gateway.fronts.grpc.grpcio_server import MethodHandler
from runs.v1 import runs_pb2


class TokenMethods:
    """Makes tokens for callers, as `access` allows."""

    def __init__(self, access: Access, calls: CapacityLimiter, connections: Connections) -> None:
        self._access = access
        self._calls = calls
        self._connections = connections

    def handlers(self) -> dict[str, MethodHandler]:
        """The handlers of the methods, by their names."""
        create = grpc.unary_unary_rpc_method_handler(
            self.CreateToken, request_deserializer=runs_pb2.CreateTokenRequest.FromString, response_serializer=bytes
        )
        return {"CreateToken": create}

    @handler
    async def CreateToken(self, request: runs_pb2.CreateTokenRequest, context: Context) -> bytes:
        """Make a token."""
        with self._calls:
            params = tokens_proto.token_params_from_proto(request)
            memory = self._connections.of(context)
            with self._access.audit.entry(memory.caller, "grpc", "CreateToken", memory.peer) as entry:
                entry.makes_token(params)
                created = self._access.create_token(memory.caller, params)
            return tokens_proto.created_token_to_proto(created).SerializeToString()
