"""The cost of the gateway in front of a Stepflow engine, compared with calls to the engine itself."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import grpc
from google.protobuf.json_format import Parse
from google.protobuf.struct_pb2 import Value

from benchmarks import measure
from benchmarks.measure import SERVER_CORE, Failure
from benchmarks.sample import INPUT
from benchmarks.scenarios import MEMORY, Metrics, put_flow, submit_request
from runs.v1 import runs_pb2_grpc
from stepflow.v1 import runs_pb2 as engine_pb2
from stepflow.v1 import runs_pb2_grpc as engine_pb2_grpc
from tests.support.engine import BUILTIN, binary

RELEASE: Final = "0.13.0"
ORCHESTRATOR: Final = f"orchestrator {RELEASE}"

_WARM_UP: Final = 10
"""Calls before the measurement begins."""


def sequential_submits(seconds: float) -> Metrics:
    """Measure submits that wait, one by one: to an orchestrator by grpcio, and through the gateway to it.

    Returns the median times. Raises Failure if a result is not the expected one.
    """
    with _orchestrator() as address, measure.gateway(MEMORY, "--runtime", f"stepflow+http://{address}") as gateway:
        flow_id = put_flow(gateway)
        with grpc.insecure_channel(address) as channel, grpc.insecure_channel(gateway.grpc) as gateway_channel:
            engine = engine_pb2_grpc.RunsServiceStub(channel)
            request = engine_pb2.CreateRunRequest(
                flow_id=flow_id.removeprefix("sha256:"), input=[Parse(INPUT, Value())], wait=True
            )
            if len(engine.CreateRun(request).results) != 1:
                raise Failure("the engine has not returned the result")
            direct = _median_ms(lambda: engine.CreateRun(request), seconds / 2)
            runs = runs_pb2_grpc.RunsServiceStub(gateway_channel)
            submit = submit_request(flow_id)
            if json.loads(runs.SubmitRun(submit).run.results[0].value.json) != json.loads(INPUT):
                raise Failure("the gateway has not returned the result")
            through = _median_ms(lambda: runs.SubmitRun(submit), seconds / 2)
    return {"direct_ms": direct, "gateway_ms": through, "ratio": through / direct}


@contextmanager
def _orchestrator() -> Iterator[str]:
    """Run an orchestrator on the core of the servers, and yield its HOST:PORT."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yml")
        config.write_text(json.dumps(BUILTIN), encoding="utf-8")
        logs = ("--log-destination", "file", "--log-file", str(Path(folder, "logs")))
        command = [str(binary(RELEASE)), "--port", "0", "--config", str(config), *logs]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={}, text=True) as process:
            os.sched_setaffinity(process.pid, {SERVER_CORE})
            try:
                assert process.stdout is not None
                yield f"127.0.0.1:{json.loads(process.stdout.readline())['port']}"
            finally:
                process.kill()


def _median_ms(call: Callable[[], object], seconds: float) -> float:
    """Return the median time, in milliseconds, of a call that is made again and again."""
    for _ in range(_WARM_UP):
        call()
    times = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        call()
        times.append(time.perf_counter() - begun)
    return median(times) * 1000
