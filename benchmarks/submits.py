"""Submits that wait, of a run without steps: many in flight, one after the other, and through workers."""

import json
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks import measure, unary
from benchmarks.measure import BOTH_CORES, ITS_CORE, SUBMIT_RUN, Failure, Server
from benchmarks.sample import FLOW_ID, INPUT
from benchmarks.scenarios import (
    BARE,
    BARE_NATIVE,
    JOURNAL,
    MEMORY,
    NATIVE_OFFERED,
    Metrics,
    put_flow,
    state_in,
    submit,
    submit_request,
)
from benchmarks.unary import Calls

_REFERENCE: Final = "benchmarks.reference"


@dataclass(frozen=True)
class Submits:
    """A server that answers submits: the gateway with a state, or a bare reference."""

    state: str | None = None
    flags: Sequence[str] = ()
    reference: str = _REFERENCE
    json_rpc: bool = False

    @contextmanager
    def prepared(self, cores: frozenset[int]) -> Iterator[tuple[Server, Calls]]:
        """Run the server, and yield it and the calls. Raises Failure if a result is not the expected one."""
        with (
            tempfile.TemporaryDirectory() as directory,
            (
                measure.gateway(state_in(self.state, directory), *self.flags, cores=cores)
                if self.state
                else measure.server(self.reference, *self.flags, cores=cores)
            ) as target,
        ):
            flow_id = put_flow(target) if self.state else FLOW_ID
            yield target, http_submit_calls(target, flow_id) if self.json_rpc else _grpc(target, flow_id)

    def many(self, seconds: float, cores: frozenset[int] = ITS_CORE) -> Metrics:
        """Measure many submits in flight."""
        with self.prepared(cores) as (target, calls):
            return unary.many(target, calls, seconds)._asdict()

    def single(self, seconds: float) -> Metrics:
        """Measure one submit after the other."""
        with self.prepared(ITS_CORE) as (target, calls):
            return unary.single(target, calls, seconds)._asdict()

    def on_both_cores(self, seconds: float) -> Metrics:
        """Measure many submits in flight to a server that shares the core of the load."""
        return self.many(seconds, BOTH_CORES)

    def relayed(self, seconds: float) -> Metrics:
        """Measure the same of a server with workers, and what the process with the runtime does beyond executing."""
        executing = measure.told("benchmarks.executing")["us"]
        measured = self.on_both_cores(seconds)
        return {**measured, "relaying_us_per_call": measured["parent_us_per_call"] - executing}


def _grpc(target: Server, flow_id: str) -> Calls:
    request = submit_request(flow_id)
    response = submit(target, request)
    if response.run.results[0].value.json != INPUT:
        raise Failure(f"not the result that was expected: {response}")
    return unary.grpc_calls(target, SUBMIT_RUN, request, response)


def http_submit_calls(target: Server, flow_id: str) -> Calls:
    """Return the calls that submit a run by JSON-RPC. Raises Failure if a result is not the expected one."""
    params = {"flowId": flow_id, "inputs": [json.loads(INPUT)], "wait": True}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": params}).encode()
    headers = {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"http://{target.http}/", body, headers)) as answer:
        response = answer.read()
    if INPUT not in response.decode():
        raise Failure(f"not the result that was expected: {response}")
    return unary.http_calls(target, body, response)


ON_GRPCIO, JOURNALLED = "gateway, :memory:", "gateway, journalled"
ON_NATIVE, NATIVE_JOURNALLED = "gateway, native, :memory:", "gateway, native, journalled"
JSON_RPC: Final = "gateway, JSON-RPC over HTTP, :memory:"
_NATIVE: Final = ("--transport", "native")

SUBMITS: Final = {
    BARE: Submits(),
    ON_GRPCIO: Submits(MEMORY),
    JOURNALLED: Submits(JOURNAL),
    **(
        {
            BARE_NATIVE: Submits(reference="benchmarks.native_reference"),
            ON_NATIVE: Submits(MEMORY, _NATIVE),
            NATIVE_JOURNALLED: Submits(JOURNAL, _NATIVE),
        }
        if NATIVE_OFFERED
        else {}
    ),
    JSON_RPC: Submits(MEMORY, json_rpc=True),
}
"""The servers that are compared."""

UNSCHEDULED_SUBMITS: Final = Submits(flags=("--default-scheduling",))

_TRANSPORTS: Final = {"grpcio": (), **({"native": _NATIVE} if NATIVE_OFFERED else {})}

_TWO: Final = ("--workers", "2")

WORKERS: Final = {
    **{f"one process, {name}": Submits(MEMORY, flags).on_both_cores for name, flags in _TRANSPORTS.items()},
    **{
        f"2 workers, {name}": Submits(MEMORY, ("--workers", "2", *flags)).relayed for name, flags in _TRANSPORTS.items()
    },
}
"""The measurements of the gateway in one process and in several, on each transport."""
