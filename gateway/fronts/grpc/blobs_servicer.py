# ruff: noqa: N802 - the contract names the methods.
"""The blobs service."""

from gateway.adapter import blobs_proto
from gateway.fronts.grpc.calls import CapacityLimiter, Context, fitting, handler
from gateway.runs.service import RunsService
from runs.v1 import blobs_pb2, blobs_pb2_grpc


class BlobsServicer(blobs_pb2_grpc.BlobsServiceServicer):
    """Stores blobs and returns them. `send_limit`: the largest message, in bytes."""

    def __init__(self, service: RunsService, calls: CapacityLimiter, send_limit: int) -> None:
        self._service = service
        self._calls = calls
        self._send_limit = send_limit

    @handler
    async def PutBlob(self, request: blobs_pb2.PutBlobRequest, context: Context) -> blobs_pb2.PutBlobResponse:
        """Store a blob."""
        with self._calls:
            blob = blobs_proto.blob_from_put_request(request)
            return blobs_pb2.PutBlobResponse(blob_id=await self._service.put_blob(blob))

    @handler
    async def GetBlob(self, request: blobs_pb2.GetBlobRequest, context: Context) -> blobs_pb2.GetBlobResponse:
        """Return a blob."""
        with self._calls:
            response = blobs_proto.blob_to_get_response(await self._service.get_blob(request.blob_id))
            return fitting(response, self._send_limit, "the blob does not fit into one message")
