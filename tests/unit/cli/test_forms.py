"""As what commands print: for people, as JSON or as YAML, by the same flags everywhere."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from gateway.core.steering import without_steering
from gateway.core.yaml_json import yaml_to_json
from tests.support.held_gateway import HeldGateway

NUMBERS = '{"big": 1152921504606846977, "price": 12.30, "far": 1e400}'


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints that succeeds."""
    assert run(arguments) == ExitCode.OK
    return capsys.readouterr().out


def documents(text: str) -> list[str]:
    """The YAML documents that a command has printed, as JSON."""
    assert text.startswith("---\n")
    return [yaml_to_json(each) for each in text.removeprefix("---\n").split("\n---\n")]


def test_a_result_keeps_its_digits(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = printed(capsys, "submit", held.echo, "--input", NUMBERS).strip()
    get = ("get", run_id, "--wait", "--results", "--output")
    as_json, as_yaml = (printed(capsys, *get, form) for form in ("json", "yaml"))
    kept = NUMBERS.replace(" ", "").replace("1e400", "1.0e+400")
    assert documents(as_yaml) == [as_json.strip().replace(NUMBERS, kept)]
    assert "price: 12.30\n" in as_yaml
    for text in (printed(capsys, *get, "table"), printed(capsys, *get[:-1])):
        assert text.startswith("run ")


@pytest.mark.parametrize("command", [["list"], ["items", "RUN"], ["tree", "RUN"], ["watch", "RUN"]])
def test_lists_are_json_unless_a_terminal_shows_them(
    command: list[str], held: HeldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = held.client.submit_and_wait(held.echo, [1]).run_id
    command = [run_id if word == "RUN" else word for word in command]
    plain, as_json, shortly = (printed(capsys, *command, *flags) for flags in ([], ["--output", "json"], ["--json"]))
    assert plain == as_json == shortly
    assert documents(printed(capsys, *command, "--output", "yaml")) == as_json.splitlines()
    table = printed(capsys, *command, "--output", "table")
    assert table != as_json
    assert "{" not in table


STEERS = "a\x9b31m\u202eb\x1b]0;\u2066c\u200f\u2028"


def test_no_text_of_a_run_steers_a_terminal(
    held: HeldGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values mean the same there as elsewhere; in what is for people, a mark stands in the place of each character."""
    run_id = held.client.submit_and_wait(held.echo, [{STEERS: STEERS}], labels={STEERS: STEERS}).run_id
    commands = [
        ["list"],
        ["items", run_id, "--inputs"],
        ["tree", run_id],
        ["get", run_id, "--results"],
        ["watch", run_id],
    ]
    elsewhere = [printed(capsys, *command, "--output", "json") for command in commands]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for command, plain in zip(commands, elsewhere, strict=True):
        shown = {form: printed(capsys, *command, "--output", form) for form in ("json", "yaml", "table")}
        drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.pop("table")).replace("\r", "")
        for text in (*shown.values(), drawn):
            assert without_steering(text, layout=True) == text, command
        assert [json.loads(line) for line in shown["json"].splitlines()] == [
            json.loads(line) for line in plain.split("\n")[:-1]
        ]
        assert [json.loads(each) for each in documents(shown["yaml"])] == [
            json.loads(line) for line in plain.split("\n")[:-1]
        ]
    assert "\x9b" in elsewhere[0]


def test_many_values_are_many_documents(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [held.client.submit_and_wait(held.echo, [1]).run_id for _ in range(3)]
    listed = yaml.safe_load_all(printed(capsys, "list", "--output", "yaml"))
    assert [each["runId"] for each in listed] == runs[::-1]


def test_every_command_that_prints_a_value_has_each_form(
    held: HeldGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = tmp_path / "flow.json"
    flow.write_text('{"steps": [], "output": 1}', encoding="utf-8")
    running = [held.submit_held() for _ in range(2)]
    done = held.client.submit_and_wait(held.echo, [1]).run_id
    for command in (
        ["version"],
        ["put", str(flow)],
        ["submit", held.echo, "--input", "1"],
        ["submit", held.echo, "--input", "1", "--wait"],
        ["cancel", running[0]],
        ["cancel", "--state", "running", "--yes"],
        ["delete", done],
        ["token", "create"],
    ):
        values = documents(printed(capsys, *command, "--output", "yaml"))
        assert all(isinstance(json.loads(value), dict) for value in values), command


def test_two_forms_at_once_are_refused_before_anything_is_done(
    held: HeldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["list"], ["submit", held.echo, "--input", "1"], ["cancel", "--all", "--yes"], ["version"]):
        assert run([*command, "--json", "--output", "yaml"]) == ExitCode.USAGE
        assert "--json and --output yaml exclude each other" in capsys.readouterr().err
        assert run([*command, "--output", "xml"]) == ExitCode.USAGE
    assert [*held.client.runs()] == []
    assert run(["list", "--json", "--output", "json"]) == ExitCode.OK


def test_a_live_table_needs_a_terminal(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--follow", "--output", "table"]) == ExitCode.USAGE
    assert capsys.readouterr().err == (
        "error: a live table needs a terminal: give --output json or yaml (see runs-gateway list --help)\n"
    )
