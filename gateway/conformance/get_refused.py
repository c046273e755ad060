"""What GetRun refuses, and by which status."""

import uuid

import grpc
from google.protobuf.duration_pb2 import Duration

from gateway.conformance.promise import PROTO, Promises, same
from gateway.conformance.reading import get, read
from gateway.conformance.scene import Scene
from runs.v1 import runs_pb2

PROMISES = Promises("refuse", f"{PROTO}: GetRun, Errors")


async def _refused(scene: Scene, request: runs_pb2.GetRunRequest, status: grpc.StatusCode) -> None:
    reading = await read(scene.target, request)
    same((reading.end, len(reading.messages)), (status, 0), "the status, and the number of messages before it")


@PROMISES.promise("NOT_FOUND: no run has this id.")
async def unknown_runs(scene: Scene) -> None:
    await _refused(scene, get(str(uuid.uuid4())), grpc.StatusCode.NOT_FOUND)


@PROMISES.promise("INVALID_ARGUMENT: the run id is not a UUID.")
async def what_is_no_id(scene: Scene) -> None:
    await _refused(scene, get("no-uuid"), grpc.StatusCode.INVALID_ARGUMENT)


@PROMISES.promise("INVALID_ARGUMENT: `timeout` MUST NOT be negative.", f"{PROTO}: GetRunRequest.timeout")
async def negative_timeouts(scene: Scene) -> None:
    run = await scene.large_run()
    await _refused(scene, get(run.run_id, timeout=Duration(seconds=-1)), grpc.StatusCode.INVALID_ARGUMENT)


@PROMISES.promise(
    "INVALID_ARGUMENT: `heartbeat_interval` MUST be at least 100 ms.", f"{PROTO}: GetRunRequest.heartbeat_interval"
)
async def hasty_heartbeats(scene: Scene) -> None:
    run = await scene.large_run()
    request = get(run.run_id, heartbeat_interval=Duration(nanos=99_000_000))
    await _refused(scene, request, grpc.StatusCode.INVALID_ARGUMENT)
