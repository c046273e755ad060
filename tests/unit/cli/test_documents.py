"""Flows and inputs from files: values stay the text they are, and errors name the file and the place."""

import io
from pathlib import Path

import pytest

from gateway.cli.documents import DocumentError, read_flow, read_inputs
from gateway.cli.errors import ExitCode


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_bytes(text.encode())
    return file


@pytest.mark.parametrize("name", ["flow.json", "flow.yaml", "flow"])
def test_a_flow_in_json_is_taken_as_it_stands(tmp_path: Path, name: str) -> None:
    text = '{"output": 1e400,\n\t"steps" : [ ]}\n'
    assert read_flow(write(tmp_path, name, text)) == text


def test_a_flow_in_yaml_is_translated(tmp_path: Path) -> None:
    assert read_flow(write(tmp_path, "flow.yaml", "steps: []\noutput: {$input: $}\n")) == (
        '{"steps":[],"output":{"$input":"$"}}'
    )


def test_a_file_called_json_is_not_read_as_yaml(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"flow\.json: line 1, column 1: not a JSON value: invalid character$"):
        read_flow(write(tmp_path, "flow.json", "steps: []"))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("i.json", '[1, {"a": 1e400}, "]"]', ["1", '{"a": 1e400}', '"]"']),
        ("i.json", "[\n 1,\n 2\n]\n", ["1", "2"]),
        ("i.json", "[]", []),
        ("i.json", '{"a":\n1}', ['{"a":\n1}']),
        ("i.txt", "[1]\n[2]\n", ["[1]", "[2]"]),
        ("i.txt", '1\n\n"a\u2028b"\r\nnull', ["1", '"a\u2028b"\r', "null"]),
        ("i.txt", "[1, 2]", ["1", "2"]),
        ("i.jsonl", "[1, 2]", ["[1, 2]"]),
        ("i.json", "[]\n", []),
        ("i.json", "\ufeff[1]", ["1"]),
    ],
)
def test_inputs_are_an_array_or_lines(tmp_path: Path, name: str, text: str, expected: list[str]) -> None:
    assert read_inputs(write(tmp_path, name, text)) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("i.json", "[1, 2", "i.json: line 1, column 6: not a JSON value: the text ends too early$"),
        ("i.json", "[1,\n 2\n", "i.json: line 2, column 3: not a JSON value: the text ends too early$"),
        ("i.json", "[1, 2] 3", "i.json: line 1, column 8: not a JSON value: trailing characters$"),
        ("i.json", '[\n  "é→😀",\n  "é→😀" 1\n]', "i.json: line 3, column 9: not a JSON value: expected ',' or ']'$"),
        ("i.json", '[\n"\\ud800"]', "i.json: line 2, column 2: not a JSON value: lone surrogate$"),
        ("i.txt", "1\n2\nx\n", "i.txt: line 3, column 1: not a JSON value: invalid character$"),
        ("i.txt", '1\n\n "a" "b"\n', "i.txt: line 3, column 6: not a JSON value: trailing characters$"),
        ("i.jsonl", "[1,\n2]", "i.jsonl: line 1, column 4: not a JSON value: the text ends too early$"),
        ("i.json", "[" * 100_000, "i.json: line 1, column 100001: nested too deeply$"),
        ("i.json", "", "i.json: is empty$"),
        ("i.jsonl", "\n \n", "i.jsonl: is empty$"),
    ],
)
def test_inputs_that_are_no_json_are_refused_with_their_place(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(DocumentError, match=message) as raised:
        read_inputs(write(tmp_path, name, text))
    assert raised.value.exit_code is ExitCode.USAGE


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"missing\.yaml: No such file or directory"):
        read_flow(tmp_path / "missing.yaml")
    (tmp_path / "latin.json").write_bytes(b'\xef\xbb\xbf[1,\n"\xe9"]')
    with pytest.raises(DocumentError, match=r"latin\.json: line 2, column 2: not UTF-8 \(byte 0xe9\)$"):
        read_inputs(tmp_path / "latin.json")
    with pytest.raises(DocumentError, match=r"bad\.yaml: line 2, column 5: "):
        read_flow(write(tmp_path, "bad.yaml", "a: 1\nb: c: d"))


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[1]")))
    assert read_inputs(Path("-")) == ["1"]
    with pytest.raises(DocumentError, match=r"^standard input: is empty$"):
        read_inputs(Path("-"))
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DocumentError, match=r"^standard input: is closed$"):
        read_inputs(Path("-"))
