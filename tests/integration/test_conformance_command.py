"""`runs-gateway conformance` on gateways that are processes, by its command alone, and its report is read back."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

import pytest

from gateway.conformance.all_promises import PROMISES
from tests.support.command_line import PROGRAM
from tests.support.restarted_gateway import RestartedGateway
from tests.support.temporal_server import TemporalServer

TRANSPORTS: Final = ("grpcio", "native")
OF_RESTARTS: Final = {
    "elsewhere/runs-go-on-after-a-restart",
    "elsewhere/sets-go-on-after-a-restart",
    "elsewhere/a-restart-is-a-cut",
}
OF_OTHERS: Final = {"elsewhere/runs-go-on-at-another-server", "elsewhere/sets-go-on-at-another-server"}


class Report(NamedTuple):
    """What the report says: the promises that were tried, those that were not, and what is broken, with the reasons."""

    tried: set[str]
    not_tried: set[str]
    broken: dict[str, str]


@contextmanager
def gateway(folder: Path, transport: str, *arguments: str) -> Iterator[RestartedGateway]:
    """A gateway of its own process, until the block is left, however often it was restarted."""
    served = RestartedGateway(folder, "--transport", transport, *arguments)
    try:
        served.start()
        yield served
    finally:
        served.stop()


def report_of(folder: Path, target: RestartedGateway, *arguments: str) -> Report:
    """What the command reports of a gateway. Its exit code says the same."""
    file = folder / "report.xml"
    command = [PROGRAM, "conformance", "--target", target.grpc, "--patience", "60s", "--junit", str(file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert file.exists(), done.stderr
    report = Report(set(), set(), {})
    for case in ElementTree.parse(file).getroot().iter("testcase"):
        name = f"{case.attrib['classname'].removeprefix('runs.v1.')}/{case.attrib['name']}"
        failure = case.find("failure")
        (report.tried if case.find("skipped") is None else report.not_tried).add(name)
        if failure is not None:
            report.broken[name] = failure.attrib["message"]
    assert done.returncode == (1 if report.broken else 0), done.stdout
    assert report.tried | report.not_tried == {promise.name for promise in PROMISES}
    return report


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_gateway_in_memory(tmp_path: Path, transport: str) -> None:
    with gateway(tmp_path / "a", transport, "--state", ":memory:") as target:
        report = report_of(tmp_path, target)
    assert (report.broken, report.not_tried) == ({}, OF_RESTARTS | OF_OTHERS)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_gateway_with_a_file(tmp_path: Path, transport: str, workers: str) -> None:
    arguments = ("--state", str(tmp_path / "state.db"), "--workers", workers)
    with gateway(tmp_path / "a", transport, *arguments) as target:
        report = report_of(tmp_path, target, "--restart", target.restart_command)
    assert (report.broken, report.not_tried) == ({}, OF_OTHERS)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_relay(tmp_path: Path, transport: str) -> None:
    with (
        gateway(tmp_path / "a", transport, "--state", str(tmp_path / "state.db")) as upstream,
        gateway(tmp_path / "b", transport, "--runtime", f"grpc://{upstream.grpc}") as target,
    ):
        report = report_of(tmp_path, target, "--other", upstream.grpc, "--restart", target.restart_command)
    assert (report.broken, report.not_tried) == ({}, set())


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_two_gateways_on_temporal(tmp_path: Path, transport: str, temporal_server: TemporalServer) -> None:
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
    arguments = ("--runtime", runtime, "--blobs", f"file://{tmp_path}/objects")
    (tmp_path / "objects").mkdir()
    with ExitStack() as stack:
        target, other = (
            stack.enter_context(gateway(tmp_path / name, transport, *arguments)) for name in ("target", "other")
        )
        report = report_of(tmp_path, target, "--other", other.grpc, "--restart", target.restart_command)
    assert (report.broken, report.not_tried) == ({}, set())
