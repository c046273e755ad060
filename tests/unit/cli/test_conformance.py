"""The command `conformance`: what it prints and writes, and how it ends."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from gateway.conformance.all_promises import PROMISES
from gateway.conformance.promise import Promise, PromiseBroken
from gateway.conformance.scene import Scene
from gateway.testing import InMemoryGateway, in_memory_gateway


@pytest.fixture(scope="module")
def gateway() -> Iterator[InMemoryGateway]:
    with in_memory_gateway() as gateway:
        yield gateway


def test_a_list_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.xml"
    assert run(["conformance", "--list", "--junit", str(report)]) == ExitCode.USAGE
    assert "--junit" in capsys.readouterr().err
    assert not report.exists()


def test_promises_that_are_kept(gateway: InMemoryGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.xml"
    chosen = ["--only", "refuse/*", "--only", "get/each-result-comes-once"]
    assert run(["conformance", "--target", gateway.address, "--junit", str(report), *chosen]) == ExitCode.OK
    first, *_, last = capsys.readouterr().out.splitlines()
    assert (first, last) == ("kept       get/each-result-comes-once", "5 promises: 5 kept, 0 broken, 0 not tried")
    assert ElementTree.parse(report).getroot().get("tests") == "5"
    with gateway.client() as client:
        assert list(client.runs()) == []


def test_a_promise_that_is_broken(
    gateway: InMemoryGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def check(_: Scene) -> None:
        raise PromiseBroken("a result is missing")

    promise = Promise("get/all", "All results come.", "runs.proto", check)
    monkeypatch.setattr("gateway.conformance.all_promises.PROMISES", (promise,))
    assert run(["conformance", "--address", gateway.address]) == ExitCode.ERROR
    assert "a result is missing" in capsys.readouterr().out


def test_what_cannot_be_tried_counts_as_broken_if_asked_for(gateway: InMemoryGateway) -> None:
    chosen = ["conformance", "--target", gateway.address, "--only", "elsewhere/runs-go-on-after-a-restart"]
    assert run(chosen) == ExitCode.USAGE
    assert run([*chosen, "--strict"]) == ExitCode.ERROR
    assert run([*chosen, "--only", "refuse/unknown-runs"]) == ExitCode.OK


def test_the_promises_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "--list"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[::3] == [promise.name for promise in PROMISES]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "get/nothing"], "no promise has the name 'get/nothing'"),
        (["--only", "client/*"], "--only: 'client/*' is tried with --client"),
        (["--client", "true", "--only", "get/*"], "--only: 'get/*' is tried without --client"),
        (["--target", "127.0.0.1:1", "--address", "127.0.0.1:2"], "--target and --address exclude each other"),
        (["--target", "nowhere"], "--target: expected HOST:PORT"),
        (["--target", ""], "--target: expected HOST:PORT"),
        (["--address", "nowhere"], "--address: expected HOST:PORT"),
        (["--other", "nowhere"], "--other: expected HOST:PORT"),
        (["--slow-component", "nope"], "--slow-component: expected /PATH, got 'nope'"),
        (["--restart", " "], "--restart: expected a command for the shell"),
        (["--client", ""], "--client: expected a command for the shell"),
        (["--junit", "/nowhere/report.xml"], "--junit: /nowhere/report.xml: No such file or directory"),
        (["--junit", "/"], "--junit: /: Is a directory"),
        (["--patience", "0"], "--patience"),
        (["--target", "127.0.0.1:1"], "the target cannot be tried: UNAVAILABLE"),
    ],
)
def test_what_cannot_be_tried(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", *arguments]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert told in printed.err
    assert "broken  " not in printed.out


def test_a_client_is_tried_in_place_of_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["conformance", "--only", "client/folds-what-comes", "--client"]
    assert run([*chosen, f"{sys.executable} -m tests.support.following_client"]) == ExitCode.OK
    assert run([*chosen, "true"]) == ExitCode.ERROR
    assert "has not printed one JSON value" in capsys.readouterr().out


@pytest.mark.parametrize(
    "of_servers",
    [
        ("--target", "127.0.0.1:1"),
        ("--address", "127.0.0.1:1"),
        ("--other", "127.0.0.1:1"),
        ("--restart", "true"),
        ("--slow-component", "/python/slow"),
        ("--tls-ca", "ca.pem"),
        ("--token-file", "token"),
        ("--namespace", "team"),
        ("--insecure",),
    ],
)
def test_flags_for_servers_are_refused_beside_a_client(
    of_servers: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["conformance", "--client", "true", *of_servers]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert f"--client is tried on a server of the kit: leave out {of_servers[0]} (see" in printed.err
    assert printed.out == ""


def test_what_the_environment_says_of_a_gateway_excludes_nothing(
    gateway: InMemoryGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNS_GATEWAY_ADDRESS", "127.0.0.1:1")
    client = f"{sys.executable} -m tests.support.following_client"
    assert run(["conformance", "--only", "client/folds-what-comes", "--client", client]) == ExitCode.OK
    only = ["--only", "refuse/unknown-runs"]
    assert run(["conformance", "--target", gateway.address, *only]) == ExitCode.OK
    assert run(["conformance", "--address", gateway.address, *only]) == ExitCode.OK


def test_a_component_that_the_target_lacks_is_told_before_anything_is_tried(
    gateway: InMemoryGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.xml"
    chosen = ["--target", gateway.address, "--slow-component", "/python/nothing", "--junit", str(report)]
    assert run(["conformance", *chosen]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert "--slow-component: the target does not execute '/python/nothing'" in printed.err
    count = len(PROMISES)
    assert printed.out == f"{count} promises: 0 kept, 0 broken, {count} not tried\n"
    assert ElementTree.parse(report).getroot().get("skipped") == str(count)


@pytest.mark.parametrize("target", ["/dev/full", "report.xml"])
def test_what_ends_the_kit_itself_leaves_a_report(
    target: str, gateway: InMemoryGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def kept(_: Scene) -> None:
        """Nothing is wrong."""

    async def check(_: Scene) -> None:
        raise SystemExit(3)

    promises = [Promise(f"get/{check.__name__}", "All comes.", "runs.proto", check) for check in (kept, check)]
    monkeypatch.setattr("gateway.conformance.all_promises.PROMISES", promises)
    report = tmp_path / target
    command = ["conformance", "--target", gateway.address, "--junit", str(report)]
    if target == "/dev/full":
        assert run(command) == ExitCode.USAGE
        return
    with pytest.raises(SystemExit):
        run(command)
    assert ElementTree.parse(report).getroot().get("tests") == "1"


def test_the_report_is_whole_all_the_time(
    gateway: InMemoryGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = tmp_path / "report.xml"
    report.write_text("what was there before, and is longer " * 1_000)
    meanwhile = []

    async def check(_: Scene) -> None:
        meanwhile.append(ElementTree.parse(report).getroot())

    monkeypatch.setattr("gateway.conformance.all_promises.PROMISES", [Promise("get/all", "It.", "runs.proto", check)])
    assert run(["conformance", "--target", gateway.address, "--junit", str(report)]) == ExitCode.OK
    afterwards = ElementTree.parse(report).getroot()
    assert [each.get("skipped") for each in (*meanwhile, afterwards)] == ["1", "0"]


def test_a_report_goes_through_a_pipe_once(gateway: InMemoryGateway, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(pipe.read_bytes)
        chosen = ["--target", gateway.address, "--only", "refuse/unknown-runs", "--junit", str(pipe)]
        assert run(["conformance", *chosen]) == ExitCode.OK
        assert ElementTree.fromstring(reading.result()).get("tests") == "1"


def test_ctrl_c_is_not_put_off_while_a_pipe_waits_for_its_reader(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @contextmanager
    def opening(_path: Path, _promises: Sequence[Promise]) -> Iterator[None]:
        signal.raise_signal(signal.SIGINT)
        yield None

    monkeypatch.setattr("gateway.cli.conformance.opened_report", opening)
    with pytest.raises(KeyboardInterrupt):
        run(["conformance", "--target", "127.0.0.1:1", "--junit", str(tmp_path / "pipe")])
