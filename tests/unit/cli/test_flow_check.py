"""The command `check`: its words, its exit codes, and that it says what a gateway says."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from gateway.client import InvalidParams
from gateway.core.errors import render_path
from gateway.flows.flow_schema import flow_schema
from gateway.testing import InMemoryGateway, in_memory_gateway
from tests.fuzz.targets.flows import DOCUMENTS

WRONG = """\
steps:
  - id: a
    component: b
    input: {$step: z}
  - {id: a, component: /c}
"""
FAULTS = [
    (3, 16, "steps[0].component", "the name of a component begins with '/'"),
    (4, 12, "steps[0].input", "refers to step 'z', which does not exist"),
    (5, 10, "steps[1].id", "another step has the id 'a', too"),
]


@pytest.fixture(scope="module")
def gateway() -> Iterator[InMemoryGateway]:
    with in_memory_gateway() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flows")


def write(folder: Path, text: str, name: str = "flow.yaml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """The exit code of a check, and the lines that it prints."""
    code = run(["check", *arguments])
    return code, capsys.readouterr().out.splitlines()


def test_a_valid_flow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, "output: {$input: $}")
    assert checked(capsys, file) == (ExitCode.OK, [f"{file}: valid"])


def test_all_faults_with_their_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, WRONG)
    lines = [f"{file}:{line}:{column}: {field}: {what}" for line, column, field, what in FAULTS]
    assert checked(capsys, file) == (ExitCode.ERROR, lines)


def test_faults_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, right = write(tmp_path, WRONG), write(tmp_path, '{"output":1}', "flow.json")
    code, lines = checked(capsys, wrong, right, "--json")
    names = ("line", "column", "field", "description")
    assert code == ExitCode.ERROR
    assert json.loads(lines[0]) == {
        "file": wrong,
        "valid": False,
        "faults": [dict(zip(names, fault, strict=True)) for fault in FAULTS],
    }
    valid = json.loads(lines[1])
    assert (valid["file"], valid["valid"], valid["flowId"][:7], valid["faults"]) == (right, True, "sha256:", [])


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("f.yaml", "a: [", ":1:5: expected the node content, but found '<stream end>'"),
        ("f.json", "{\n 1", ":2:2: not a JSON value: expected '\"'"),
        ("f.yaml", "", ": is empty"),
        ("f.yaml", "- 1", ":1:1: expected an object"),
        ("f.yaml", "name: x", ":1:1: not a flow: it has neither 'steps' nor 'output'"),
    ],
)
def test_files_that_hold_no_flow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, line: str
) -> None:
    file = write(tmp_path, text, name)
    assert checked(capsys, file) == (ExitCode.ERROR, [f"{file}{line}"])


def test_a_flow_that_is_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, "output: 12345")
    code, lines = checked(capsys, file, "--max-flow-bytes", "10")
    assert (code, lines) == (ExitCode.ERROR, [f"{file}: a flow of more than 10 bytes"])


@pytest.mark.parametrize("size", ["1KiB", "2000", "1 KiB"])
def test_the_largest_flow_is_spelled_as_the_setting_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str
) -> None:
    """And what is no size is refused in the words of settings."""
    short, long = write(tmp_path, "output: 1", "short.yaml"), write(tmp_path, f"output: {'x' * 3_000}", "long.yaml")
    code, lines = checked(capsys, short, long, "--max-flow-bytes", size)
    assert (code, lines[0]) == (ExitCode.ERROR, f"{short}: valid")
    assert lines[1].startswith(f"{long}: a flow of more than ")
    assert run(["check", short, "--max-flow-bytes", "1MB"]) == ExitCode.USAGE
    assert "expected a number of bytes, or one with KiB, MiB, GiB or TiB, got '1MB'" in capsys.readouterr().err


def test_a_value_that_aliases_make_too_large_has_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.yaml_json.MAX_JSON_CHARS", 1_000)
    bomb = f"a: &a [{','.join(['12345'] * 20)}]\nb: &b [{','.join(['*a'] * 5)}]\noutput:\n  [*b, *b]\n"
    file = write(tmp_path, bomb)
    assert checked(capsys, file) == (ExitCode.ERROR, [f"{file}:4:3: a value of more than 1,000 characters of JSON"])


def test_more_faults_than_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, json.dumps({"output": [{"$x": 1}] * 200}))
    code, lines = checked(capsys, file)
    assert (code, len(lines), lines[-1]) == (ExitCode.ERROR, 101, f"{file}: more were not looked for")


def test_a_file_that_cannot_be_read_does_not_keep_others_from_being_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right, missing, wrong = write(tmp_path, "output: 1", "a.yaml"), str(tmp_path / "missing"), write(tmp_path, "- 1")
    assert run(["check", right, missing, wrong]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [f"{right}: valid", f"{wrong}:1:1: expected an object"]
    assert printed.err == f"error: {missing}: No such file or directory\n"
    code, lines = checked(capsys, missing, wrong, right, "--json")
    assert (code, [json.loads(line)["valid"] for line in lines]) == (ExitCode.USAGE, [False, False, True])
    assert json.loads(lines[0])["faults"] == [{"field": "", "description": "No such file or directory"}]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"output: 1")))
    assert checked(capsys, "-") == (ExitCode.OK, ["standard input: valid"])


@pytest.mark.parametrize(
    "arguments", [["missing.yaml"], [], ["--schema", "flow.yaml"], ["--schema", "--json"], ["--foo"], ["-x", "-"]]
)
def test_what_cannot_be_checked(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, *arguments) == (ExitCode.USAGE, [])


@pytest.mark.parametrize("command", ["check", "put"])
def test_a_mistyped_option_is_told(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--foo"]) == ExitCode.USAGE
    assert "there is no option '--foo'" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["-1", "0", "1.5"])
def test_what_is_no_size_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str) -> None:
    file = write(tmp_path, "output: 1")
    assert checked(capsys, file, f"--max-flow-bytes={size}") == (ExitCode.USAGE, [])


def test_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = checked(capsys, "--schema")
    assert (code, "\n".join(lines)) == (ExitCode.OK, flow_schema())


def test_a_name_that_steers_terminals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, json.dumps({"output": {"$x\x1b[31m": 1}}))
    assert "\x1b" not in checked(capsys, file)[1][0]


@given(DOCUMENTS)
def test_a_gateway_says_the_same(gateway: InMemoryGateway, folder: Path, data: bytes) -> None:
    file = write(folder, data.decode(), "flow.json")
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("gateway.cli.forms.print_line", printed.append)
        code = run(["check", file, "--json"])
    told: dict[str, Any] = json.loads(printed[0])
    with gateway.client() as client:
        try:
            flow_id = client.put_flow(data.decode())
        except InvalidParams as error:
            expected = sorted((render_path(path), what) for path, what in error.violations)
            assert (code, told["valid"]) == (ExitCode.ERROR, False)
            assert sorted((fault["field"], fault["description"]) for fault in told["faults"]) == expected
        else:
            assert (code, told["flowId"], told["faults"]) == (ExitCode.OK, flow_id, [])
