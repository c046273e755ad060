"""The servers that are measured beside the gateway answer as it does."""

from importlib.util import find_spec
from pathlib import Path

import grpc
import pytest

from benchmarks import measure
from benchmarks.sample import FLOW_ID, INPUT, ITEMS, run_id
from benchmarks.scenarios import submit, submit_request
from runs.v1 import runs_pb2, runs_pb2_grpc

_REFERENCES = (
    "benchmarks.reference",
    pytest.param(
        "benchmarks.native_reference",
        marks=pytest.mark.skipif(find_spec("pygrpc_native") is None, reason="the native transport is not installed"),
    ),
)


@pytest.mark.parametrize("module", _REFERENCES)
def test_a_reference_returns_the_input_of_a_submit(module: str) -> None:
    with measure.server(module) as server:
        (result,) = submit(server, submit_request(FLOW_ID)).run.results

    assert result.value.json == INPUT


@pytest.mark.parametrize("module", _REFERENCES)
def test_a_reference_tells_each_change_of_a_run(module: str) -> None:
    with measure.server(module) as server:
        _follow(server)


def test_the_link_of_a_worker_is_told_the_changes_of_all_runs(tmp_path: Path) -> None:
    path = str(tmp_path / "link.sock")
    with (
        measure.server("benchmarks.served", "--runs", "2", "--link", path) as server,
        measure.server("benchmarks.linked", "--runs", "2", "--path", path) as link,
    ):
        server.command(rate=100)
        while link.command()["updates"] < 10:
            pass


def _follow(server: measure.Server) -> None:
    """Follow a run that changes a hundred times a second, for some changes."""
    server.command(rate=100)
    request = runs_pb2.GetRunRequest(run_id=run_id(0), wait=True)
    with grpc.insecure_channel(server.grpc) as channel:
        stream = runs_pb2_grpc.RunsServiceStub(channel).GetRun(request)
        states = [next(stream) for _ in range(5)]
        stream.cancel()
    revisions = [state.revision for state in states]
    assert revisions == sorted(set(revisions))
    assert all(state.run.items.total == ITEMS for state in states)
