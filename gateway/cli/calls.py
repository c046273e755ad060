"""Calls the gateway over gRPC, for the commands that use it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc

from gateway.adapter import proto
from gateway.cli.errors import CommandError, ExitCode
from gateway.model import Blob, BlobType, GetParams, ItemResult, JsonText, RunStatus, SubmitParams
from runs.v1 import blobs_pb2_grpc, runs_pb2_grpc

_CHANNEL_OPTIONS: Final = (
    # What the server sends, it means to send.
    ("grpc.max_receive_message_length", -1),
    # The gateway is a neighbour: a proxy to the outside world would not find it.
    ("grpc.enable_http_proxy", 0),
)

_EXIT_CODES: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: ExitCode.USAGE,
    grpc.StatusCode.ALREADY_EXISTS: ExitCode.USAGE,
    grpc.StatusCode.NOT_FOUND: ExitCode.NOT_FOUND,
    grpc.StatusCode.UNAVAILABLE: ExitCode.UNAVAILABLE,
}


class Client:
    """A connection to the gateway. Its methods raise CommandError."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._runs = runs_pb2_grpc.RunsServiceStub(channel)
        self._blobs = blobs_pb2_grpc.BlobsServiceStub(channel)

    def put_flow(self, flow: JsonText) -> str:
        """Store a flow and return its id."""
        return self._blobs.PutBlob(proto.blob_to_put_request(Blob(flow, BlobType.FLOW))).blob_id

    def submit(self, params: SubmitParams) -> RunStatus:
        """Submit a run."""
        response = self._runs.SubmitRun(proto.submit_params_to_proto(params))
        return proto.run_status_from_proto(response.run, with_results=params.wait)

    def follow(self, params: GetParams) -> Iterator[RunStatus]:
        """Yield the states of a run; `results` are those not yielded before."""
        for response in self._runs.GetRun(proto.get_params_to_proto(params)):
            yield proto.run_status_from_proto(response.run, with_results=params.include_results)

    def get(self, params: GetParams) -> RunStatus:
        """Return the last state that `follow` would yield, with all results."""
        results: list[ItemResult] = []
        status = None
        for status in self.follow(params):
            results += status.results or ()
        if status is None:
            raise CommandError("the gateway answered with no state")
        return status.model_copy(update={"results": results if params.include_results else None})


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Keep a connection to the gateway at `HOST:PORT` or `unix:/PATH`; what fails in the block raises CommandError."""
    with grpc.insecure_channel(address, _CHANNEL_OPTIONS) as channel:
        try:
            yield Client(channel)
        except grpc.RpcError as error:
            raise _failure(address, error) from None


def _failure(address: str, error: grpc.RpcError) -> CommandError:
    if not isinstance(error, grpc.Call):
        return CommandError("the call failed")
    code, message = error.code(), error.details() or ""
    from_gateway = any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())
    if code is grpc.StatusCode.UNAVAILABLE and not from_gateway:
        message = f"cannot reach the gateway at {address} (--address): {message}"
    return CommandError(message or code.name, _EXIT_CODES.get(code, ExitCode.ERROR))
