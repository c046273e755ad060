"""The commands about flows and runs, in this process: what they print, and how they end."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.errors import ExitCode
from gateway.cli.parameters import unless_empty
from gateway.cli.program import run
from gateway.testing import InMemoryGateway, in_memory_gateway
from tests.support.silent_server import silent_server

MISSING_RUN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def gateway() -> Iterator[InMemoryGateway]:
    with in_memory_gateway() as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def address(gateway: InMemoryGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNS_GATEWAY_ADDRESS", gateway.address)


@pytest.fixture
def flow_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A stored flow: a member of its input."""
    file = tmp_path / "flow.yaml"
    file.write_text("steps: []\noutput: {$input: m}\n", encoding="utf-8")
    assert run(["put", str(file)]) == ExitCode.OK
    return capsys.readouterr().out.strip()


def test_a_flow_has_one_id_in_every_output(flow_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["put", str(tmp_path / "flow.yaml"), "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"flowId": flow_id}


def test_a_run_that_succeeds(flow_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", flow_id, "--input", '{"m": 1}', "--flow-label", "nightly"]) == ExitCode.OK
    run_id = capsys.readouterr().out.strip()
    assert run(["get", run_id, "--wait", "--results", "--json"]) == ExitCode.OK
    status = json.loads(capsys.readouterr().out)
    assert (status["runId"], status["status"], status["flowLabel"]) == (run_id, "success", "nightly")
    assert [result["result"]["value"] for result in status["results"]] == [1]
    assert run(["watch", run_id]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["status"] == "success"


def test_a_run_that_fails(flow_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", flow_id, "--input", "{}", "--wait"]) == ExitCode.RUN_FAILED
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["state"] == "failed"
    assert lines["0"].startswith("failed")
    assert run(["get", lines["run"]]) == ExitCode.OK


def test_variables_and_overrides_are_json(flow_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    submit = ["submit", flow_id, "--input", '{"m": 1}', "--json"]
    assert run([*submit, "--variable", "v=[1]", "--overrides", "{}"]) == ExitCode.OK
    assert "results" not in json.loads(capsys.readouterr().out)
    assert run([*submit, "--overrides", "{"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("error: overrides")


def test_variables_that_are_empty_are_not_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNS_GATEWAY_CONFIG", "")
    monkeypatch.setenv("RUNS_GATEWAY_MAX_CALLS", "")
    assert run(["serve", "--workers", "0"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("error: workers (from --workers): ")
    assert unless_empty(str, "") == []
    assert unless_empty(str, "a b") == ["a b"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["submit", "f", "--input", "1", "--idempotency-key", "k"], "idempotency key 'k' returns it"),
        (["get", MISSING_RUN], "no answer in time"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--wait"], ["--wait", "--json"]])
def test_a_silent_gateway_is_waited_for_no_longer_than_the_timeout(
    command: list[str],
    words: str,
    flags: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("gateway.client.outage.ANSWER_SECONDS", 0.1)
    with silent_server() as silence:
        code = run([*command, *flags, "--timeout", "0", "--address", silence.address])
    printed = capsys.readouterr()
    assert (code, printed.out) == (ExitCode.UNAVAILABLE, "")
    assert words in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["get", MISSING_RUN, "--order", "by-completion"], "--order has a meaning with --results only"),
        (["--version", "serve"], "unexpected argument: 'serve'"),
        (["get", MISSING_RUN, "--timeout", "-1"], "expected a duration, such as 90, 45s, 2h or 30d, got '-1'"),
    ],
)
def test_a_flag_without_a_meaning_is_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert (printed.out, words in printed.err, printed.err.count("\n")) == ("", True, 1), printed.err


@pytest.mark.parametrize(
    ("arguments", "place"),
    [(["fetch"], ""), (["get"], " get"), (["serve", "--nonsense"], " serve"), (["bridge", "--queue"], " bridge")],
)
def test_wrong_use_names_the_help_of_the_command(
    arguments: list[str], place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == ExitCode.USAGE
    assert capsys.readouterr().err.endswith(f"(see runs-gateway{place} --help)\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fetch"], ExitCode.USAGE, 'Unknown command "fetch"'),
        (["get", "nonsense"], ExitCode.USAGE, "run_id: expected a UUID"),
        (["get", MISSING_RUN], ExitCode.NOT_FOUND, "no run has the id"),
        (["watch", MISSING_RUN], ExitCode.NOT_FOUND, "no run has the id"),
        (["get", MISSING_RUN, "--address", "127.0.0.1:1"], ExitCode.UNAVAILABLE, "cannot reach the gateway"),
        (["submit", MISSING_RUN], ExitCode.USAGE, "give either --input or --inputs"),
        (["submit", MISSING_RUN, "--input", "1", "--inputs", "-"], ExitCode.USAGE, "give either --input or --inputs"),
        (["put", "/nowhere/flow.yaml"], ExitCode.USAGE, "/nowhere/flow.yaml: No such file or directory"),
        (["serve", "--config", "/nowhere.toml"], ExitCode.USAGE, "/nowhere.toml: No such file or directory"),
        (["submit", MISSING_RUN, "--input", "1", "--variable", "v"], ExitCode.USAGE, "--variable: expected NAME=JSON"),
        (
            ["serve", "--config", "a.json"],
            ExitCode.USAGE,
            "a.json: No such file or directory",
        ),
        (
            ["serve", "--workers", "0"],
            ExitCode.USAGE,
            "workers (from --workers): expected at least 1, got '0' (see runs-gateway serve --help)",
        ),
        (["bridge", "--queue", "q"], ExitCode.USAGE, "engine: is needed; give --engine, or RUNS_GATEWAY_ENGINE"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    arguments: list[str], code: ExitCode, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {message}")
    assert printed.err.count("\n") == 1
