"""`top` without a terminal: one picture, in each form; and how it is refused."""

import json
import threading

import pytest
import yaml

from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from tests.support.held_gateway import HeldGateway
from tests.support.metrics_page import metrics_page

PAGE = "runs_gateway_items_executing 7\n"


def test_one_picture_is_printed(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [held.submit_held(labels={"n": str(number)}) for number in range(3)]
    held.client.submit_and_wait(held.echo, [1])
    with metrics_page(PAGE) as page:
        top = ["top", "--metrics-url", page.url, "--interval", "0.2"]
        assert run(top) == ExitCode.OK
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"gateway  {held.address}")
        assert lines[1].split()[:3] == ["runs", "3", "not"]
        assert lines[2].split() == ["items", "7", "executing"]
        assert [line.split()[0] for line in lines[5:]] == runs[::-1]
        capsys.readouterr()
        assert run([*top, "--json", "--limit", "2", "--sort", "oldest"]) == ExitCode.OK
        told = json.loads(capsys.readouterr().out)
        assert [each["runId"] for each in told["runs"]] == runs[:2]
        assert told["states"] == {"pending": 0, "running": 3, "success": 0, "failed": 0, "cancelled": 0}
        assert told["gateway"]["items"] == {"executing": 7, "waiting": None}
        assert run([*top, "--output", "yaml", "--state", "success"]) == ExitCode.OK
        assert yaml.safe_load(capsys.readouterr().out)["states"]["success"] == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [("off", "no figures: they are off (--metrics-url)"), ("unix:/none", "no figures: unix:/none: no such file")],
)
def test_without_figures_there_are_runs(
    url: str, said: str, held: HeldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = held.submit_held()
    assert run(["top", "--once", "--metrics-url", url]) == ExitCode.OK
    out = capsys.readouterr().out
    assert said in out
    assert run_id in out
    assert run(["top", "--json", "--metrics-url", url]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["gateway"] is None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--metrics-url", "nowhere"], ExitCode.USAGE),
        (["--interval", "0"], ExitCode.USAGE),
        (["--interval", "soon"], ExitCode.USAGE),
        (["--sort", "beauty"], ExitCode.USAGE),
        (["--limit", "-1"], ExitCode.USAGE),
        (["--json", "--output", "table"], ExitCode.USAGE),
        (["--flow", "a*b"], ExitCode.USAGE),
        (["--address", "127.0.0.1:1"], ExitCode.UNAVAILABLE),
        (["a-run"], ExitCode.USAGE),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: list[str], code: ExitCode, held: HeldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["top", "--once", *arguments]) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err.startswith("error: "), printed.err.count("\n")) == ("", True, 1)
    assert threading.active_count() < 50
