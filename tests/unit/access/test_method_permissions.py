"""Every method of both fronts has a permission, and what has none is for nobody."""

import pytest
from grpc_health.v1 import health_pb2

from gateway.access.method_permissions import (
    GRPC_PERMISSIONS,
    JSONRPC_PERMISSIONS,
    is_for_everybody,
    permit_grpc,
    permit_jsonrpc,
)
from gateway.core.caller import ANYBODY, Caller
from gateway.core.errors import PermissionDenied
from gateway.core.owner import Permission
from gateway.fronts.grpc.reflection import REFLECTION_SERVICES
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from runs.v1 import blobs_pb2, runs_pb2
from tests.support.scripted_runtime import ScriptedRuntime


def paths(file: object) -> set[str]:
    services = file.services_by_name.values()  # type: ignore[attr-defined]
    return {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}


def test_every_grpc_method_is_in_the_table() -> None:
    reflection = {f"/{service}/ServerReflectionInfo" for service in REFLECTION_SERVICES}
    assert set(GRPC_PERMISSIONS) == paths(runs_pb2.DESCRIPTOR) | paths(blobs_pb2.DESCRIPTOR) | reflection


def test_health_is_for_everybody_and_nothing_else_is() -> None:
    assert all(map(is_for_everybody, paths(health_pb2.DESCRIPTOR)))
    assert not any(map(is_for_everybody, GRPC_PERMISSIONS))


async def test_every_jsonrpc_method_is_in_the_table() -> None:
    service = RunsService(ScriptedRuntime())
    assert set(JSONRPC_PERMISSIONS) >= set(JsonRpcMethods(RunsServices(service)).names)
    await service.close()


@pytest.mark.parametrize("caller", [ANYBODY, Caller("root", permissions=frozenset({Permission.ADMIN}))])
def test_a_method_that_is_in_no_table_is_for_nobody(caller: Caller) -> None:
    with pytest.raises(PermissionDenied):
        permit_grpc(caller, "/runs.v1.RunsService/ForgottenMethod")
    with pytest.raises(PermissionDenied):
        permit_jsonrpc(caller, "runs/forgotten")


def test_a_caller_without_a_permission_is_told_which_one_is_missing() -> None:
    reader = Caller("reader", permissions=frozenset({Permission.READ}))
    permit_jsonrpc(reader, "runs/get")
    permit_grpc(reader, "/runs.v1.RunsService/CreateToken")
    with pytest.raises(PermissionDenied, match="runs:submit"):
        permit_jsonrpc(reader, "runs/submit")
    with pytest.raises(PermissionDenied, match="blobs:write"):
        permit_grpc(reader, "/runs.v1.BlobsService/PutBlob")
