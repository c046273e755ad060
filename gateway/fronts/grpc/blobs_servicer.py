# ruff: noqa: N802 - the contract names the methods.
"""The blobs service."""

from functools import partial
from sys import getsizeof
from typing import Any

import grpc
from grpc import aio

from gateway.adapter import blobs_proto
from gateway.adapter.long_messages import read_long_blob
from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.core.errors import TooLarge
from gateway.fronts.grpc.answer_form import not_received, receive_limit
from gateway.fronts.grpc.calls import CapacityLimiter, Context, handler
from gateway.fronts.grpc.connections import BUILDING, COPIES, SMALL_MESSAGE, Connections
from gateway.fronts.grpc.long_answers import LONG
from gateway.fronts.grpc.request_length import InSlices
from gateway.fronts.grpc.server import add_methods
from gateway.runs.services import RunsServices
from runs.v1 import blobs_pb2

BLOBS_SERVICE = blobs_pb2.DESCRIPTOR.services_by_name["BlobsService"].full_name


class BlobsServicer:
    """Stores blobs and returns them. `send_limit`: the largest message, in bytes."""

    def __init__(
        self, services: RunsServices, calls: CapacityLimiter, connections: Connections, send_limit: int
    ) -> None:
        self._services = services
        self._calls = calls
        self._connections = connections
        self._send_limit = send_limit
        self._fair_queue = FairQueue()

    def add_to(self, server: aio.Server) -> None:
        """Let a server answer the methods. Blobs come serialized, so that nothing else of them is left meanwhile."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "PutBlob": grpc.unary_unary_rpc_method_handler(
                self.PutBlob,
                request_deserializer=InSlices(blobs_pb2.PutBlobRequest.FromString),
                response_serializer=blobs_pb2.PutBlobResponse.SerializeToString,
            ),
            "GetBlob": grpc.unary_unary_rpc_method_handler(
                self.GetBlob,
                request_deserializer=blobs_pb2.GetBlobRequest.FromString,
                response_serializer=bytes,
            ),
        }
        add_methods(server, BLOBS_SERVICE, handlers)

    @handler
    async def PutBlob(self, request: blobs_pb2.PutBlobRequest | bytes, context: Context) -> blobs_pb2.PutBlobResponse:
        """Store a blob."""
        with self._calls:
            if isinstance(request, bytes):
                blob = await read_long_blob(request, FairSlices(self._fair_queue).checkpoint)
            else:
                blob = blobs_proto.blob_from_put_request(request)
            del request
            service = self._services.of(self._connections.of(context).caller.view)
            return blobs_pb2.PutBlobResponse(blob_id=await service.put_blob(blob))

    @handler
    async def GetBlob(self, request: blobs_pb2.GetBlobRequest, context: Context) -> bytes:
        """Return a blob, serialized."""
        with self._calls:
            memory = self._connections.of(context)
            drawn = 0
            refuse_larger = partial(self._refuse_larger, receive_limit(request.max_response_message_bytes))

            async def admit(length: int) -> None:
                nonlocal drawn
                refuse_larger(length)
                if length > LONG:
                    await self._connections.begin_long(memory, COPIES * length)
                memory.grow(BUILDING * length)
                drawn = BUILDING * length

            blob = await self._services.of(memory.caller.view).get_blob(request.blob_id, admit)
            if (size := getsizeof(blob.content)) <= SMALL_MESSAGE:
                return blobs_proto.blob_to_get_response(blob).SerializeToString()
            size = max(drawn, BUILDING * size)
            memory.grow(size - drawn)
            if len(blob.content) <= LONG:
                # To ask a message for its size would serialize it once more.
                answer = blobs_proto.blob_to_get_response(blob).SerializeToString()
                refuse_larger(len(answer))
            else:
                if not memory.long:
                    await self._connections.begin_long(memory, COPIES * len(blob.content))
                checkpoint = FairSlices(self._fair_queue).checkpoint
                answer = await blobs_proto.long_get_response(blob, refuse_larger, checkpoint)
                await self._connections.long_turn()
            del blob
            memory.shrink(size)
            memory.grow(COPIES * len(answer))
            return answer

    def _refuse_larger(self, received: int, size: int) -> None:
        """Raise TooLarge if the server does not send so large a message, or the client does not receive it."""
        if size > self._send_limit:
            raise TooLarge("the blob does not fit into one message")
        if size > received:
            raise not_received("the blob", size, received)
