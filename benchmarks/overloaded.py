"""Two identities at three times the capacity of a gateway: one keeps to its limit, and the other does not."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc

from benchmarks import measure
from benchmarks.measure import ITS_CORE, LOAD_CORE, PROJECT, Failure, Server
from benchmarks.sample import FLOW
from benchmarks.scenarios import MEMORY, NATIVE_OFFERED, Metrics, submit_request
from benchmarks.submits import Submits
from runs.v1 import blobs_pb2, blobs_pb2_grpc

WITHIN, BEYOND = "within", "beyond"
"""The identities: one within its limit, one beyond it."""

PART: Final = 0.1
"""How much of the capacity the one within its limit asks for. The other one may have half of it, and asks for the rest
of three times the capacity."""

_NATIVE: Final = ("--transport", "native")
WAYS: Final = {
    "grpc": Submits(MEMORY),
    **({"grpc, native": Submits(MEMORY, _NATIVE)} if NATIVE_OFFERED else {}),
    "http": Submits(MEMORY, json_rpc=True),
}
"""How a gateway is asked, and what measures its capacity."""


class Load(NamedTuple):
    """What one identity asks for."""

    identity: str
    rate: float


def overloaded(way: str, seconds: float) -> Metrics:
    """Measure the times of the identity within its limit, alone and beside the other one, and those of refusals."""
    capacity = WAYS[way].many(seconds)["calls_per_s"]
    calm = Load(WITHIN, PART * capacity)
    with _serving(way, capacity) as (target, directory):
        (alone,) = _run(way, target, directory, [calm], seconds)
        before = target.memory()
        beside, beyond = _run(way, target, directory, [calm, Load(BEYOND, (3 - PART) * capacity)], seconds)
        grown = target.memory() - before
    if beside["refused"]:
        raise Failure(f"{beside['refused']} calls within the limit were refused")
    return {
        "capacity": capacity,
        "alone_p99_ms": alone["served_ms"]["p99"],
        "beside_p99_ms": beside["served_ms"]["p99"],
        "ratio": beside["served_ms"]["p99"] / alone["served_ms"]["p99"],
        "refused": beyond["refused"] / beyond["sent"],
        "refused_p99_ms": beyond["refused_ms"]["p99"],
        "memory_growth_mib": grown / 2**20,
    }


@contextmanager
def _serving(way: str, capacity: float) -> Iterator[tuple[Server, Path]]:
    """A gateway with both identities, and the directory with what the loads send."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        flags = _settings(directory, capacity)
        with measure.gateway(MEMORY, *flags, *WAYS[way].flags, cores=ITS_CORE) as target:
            request = submit_request(_put_flow(target))
            (directory / "grpc").write_bytes(request.SerializeToString())
            params = {"flowId": request.flow_id, "inputs": [json.loads(request.inputs[0].json)], "wait": True}
            body = {"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": params}
            (directory / "http").write_text(json.dumps(body))
            yield target, directory


def _settings(directory: Path, capacity: float) -> Sequence[str]:
    """The files of settings and tokens, and the flags that name them."""
    entries = []
    for identity in (WITHIN, BEYOND):
        (directory / identity).write_text(f"rgw_{identity}")
        digest = sha256(f"rgw_{identity}".encode()).hexdigest()
        permissions = '["runs:submit", "blobs:write"]'
        entries.append(f'[[tokens]]\nname = "{identity}"\nsha256 = "{digest}"\npermissions = {permissions}\n')
    (directory / "tokens.toml").write_text("\n".join(entries))
    limits = f"[[limits]]\nrequests_per_second = {capacity / 2}\nburst = {int(capacity / 10) + 1}\n"
    (directory / "settings.toml").write_text(limits)
    return "--tokens", str(directory / "tokens.toml"), "--config", str(directory / "settings.toml")


def _put_flow(target: Server) -> str:
    with grpc.insecure_channel(target.grpc) as channel:
        stub: Any = blobs_pb2_grpc.BlobsServiceStub(channel)
        request = blobs_pb2.PutBlobRequest(json=FLOW, type=blobs_pb2.BLOB_TYPE_FLOW)
        return str(stub.PutBlob(request, metadata=(("authorization", f"Bearer rgw_{WITHIN}"),)).blob_id)


def _run(way: str, target: Server, directory: Path, loads: Sequence[Load], seconds: float) -> list[dict[str, Any]]:
    """Let identities make calls at the same time, each by a process of its own, and return the figures of each."""
    protocol = way.partition(",")[0]
    processes = []
    for load in loads:
        arguments = {
            "address": target.http if protocol == "http" else target.grpc,
            "protocol": protocol,
            "request": str(directory / protocol),
            "token-file": str(directory / load.identity),
            "rate": str(load.rate),
            "seconds": str(seconds),
            "connections": "16",
        }
        flags = [text for name, value in arguments.items() for text in (f"--{name}", value)]
        command = [sys.executable, "-m", "benchmarks.open_loop", *flags]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT, env=measure.environment(), text=True)
        os.sched_setaffinity(process.pid, {LOAD_CORE})
        processes.append(process)
    return [json.loads(process.communicate(timeout=seconds + 60)[0]) for process in processes]
