"""Which permission each method of both fronts needs. A method that is not here is refused to everybody."""

from typing import Final

from gateway.core.caller import Caller
from gateway.core.errors import PermissionDenied
from gateway.core.owner import Permission

ANY_IDENTITY: Final = None
"""No permission is needed, but an identity, where there are any."""

GRPC_PERMISSIONS: Final[dict[str, Permission | None]] = {
    "/runs.v1.RunsService/SubmitRun": Permission.SUBMIT,
    "/runs.v1.RunsService/SubmitRunStream": Permission.SUBMIT,
    "/runs.v1.RunsService/GetRun": Permission.READ,
    "/runs.v1.RunsService/WatchRuns": Permission.READ,
    "/runs.v1.RunsService/ListRuns": Permission.READ,
    "/runs.v1.RunsService/ListItems": Permission.READ,
    "/runs.v1.RunsService/CancelRun": Permission.CANCEL,
    "/runs.v1.RunsService/CancelRuns": Permission.CANCEL,
    "/runs.v1.RunsService/DeleteRun": Permission.DELETE,
    "/runs.v1.RunsService/DeleteRuns": Permission.DELETE,
    "/runs.v1.RunsService/CreateToken": ANY_IDENTITY,
    "/runs.v1.BlobsService/PutBlob": Permission.WRITE_BLOBS,
    "/runs.v1.BlobsService/GetBlob": Permission.READ_BLOBS,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": ANY_IDENTITY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANY_IDENTITY,
}
"""The methods of gRPC, but for those that are for everybody."""

STREAMS: Final = frozenset(
    {
        "/runs.v1.RunsService/GetRun",
        "/runs.v1.RunsService/WatchRuns",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    }
)
"""The methods of gRPC whose calls count as streams."""

STORING: Final = frozenset(
    {
        "/runs.v1.RunsService/SubmitRun",
        "/runs.v1.RunsService/SubmitRunStream",
        "/runs.v1.BlobsService/PutBlob",
        "runs/submit",
        "blobs/put",
    }
)
"""The methods that store something in the namespace of their caller."""

_FOR_EVERYBODY: Final = "/grpc.health.v1.Health/"
"""Load balancers have no identity."""

JSONRPC_PERMISSIONS: Final[dict[str, Permission | None]] = {
    "runs/submit": Permission.SUBMIT,
    "runs/get": Permission.READ,
    "runs/watch": Permission.READ,
    "runs/list": Permission.READ,
    "runs/items": Permission.READ,
    "runs/cancel": Permission.CANCEL,
    "runs/delete": Permission.DELETE,
    "runs/token": ANY_IDENTITY,
    "blobs/put": Permission.WRITE_BLOBS,
    "blobs/get": Permission.READ_BLOBS,
    "rpc.discover": ANY_IDENTITY,
}
"""The methods of JSON-RPC. The blob API by HTTP needs what `blobs/put` and `blobs/get` need."""


def is_for_everybody(path: str) -> bool:
    """Whether a gRPC method, `/SERVICE/METHOD`, is for callers without an identity as well."""
    return path.startswith(_FOR_EVERYBODY)


def permit_grpc(caller: Caller, path: str) -> None:
    """Raise PermissionDenied if a caller may not call a gRPC method, `/SERVICE/METHOD`."""
    _permit(caller, path, GRPC_PERMISSIONS)


def permit_jsonrpc(caller: Caller, method: str) -> None:
    """Raise PermissionDenied if a caller may not call a JSON-RPC method."""
    _permit(caller, method, JSONRPC_PERMISSIONS)


def _permit(caller: Caller, method: str, table: dict[str, Permission | None]) -> None:
    try:
        needed = table[method]
    except KeyError:
        raise PermissionDenied("the method is for nobody") from None
    if needed is not None:
        caller.require(needed)
