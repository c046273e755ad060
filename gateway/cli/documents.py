"""Reads the files of users: flows in JSON or YAML, inputs in JSON or JSON Lines. Values stay text."""

import sys
from pathlib import Path

import msgspec

from gateway.cli.errors import CommandError, ExitCode
from gateway.core.model import JsonText

_LINES_SUFFIXES = {".jsonl", ".ndjson"}


class DocumentError(CommandError):
    """A file that cannot be used. The message names the place in it."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: {problem}", ExitCode.USAGE)


def read_flow(file: Path) -> JsonText:
    """Return the text of a flow: JSON as it is, YAML translated to JSON. `-` is standard input, JSON or YAML.

    Raises DocumentError if the file cannot be read or is neither.
    """
    text = _read(file)
    # JSON is nearly a subset of YAML. Text that is not JSON is read as YAML, unless the name of the file promises JSON.
    if file.suffix == ".json" or _json_problem(text) is None:
        return text
    from gateway.core.yaml_json import yaml_to_json

    try:
        return yaml_to_json(text)
    except ValueError as error:
        raise DocumentError(file, str(error)) from None


def read_inputs(file: Path) -> list[JsonText]:
    """Return the texts of inputs: the elements of one array, or one value a line. `-` is standard input.

    A file whose first line is a whole value has one value a line. A single line with an array is that array. A file
    named `.jsonl` or `.ndjson` always has one value a line. Raises DocumentError if the file cannot be read or has
    malformed values.
    """
    text = _read(file)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    in_lines = len(lines) != 1 and (not lines or _json_problem(lines[0][1]) is None)
    if not in_lines and file.suffix not in _LINES_SUFFIXES:
        return _read_array(file, text)
    for number, line in lines:
        if problem := _json_problem(line):
            raise DocumentError(file, f"line {number}: {problem}")
    return [line for _, line in lines]


def _read_array(file: Path, text: str) -> list[JsonText]:
    if problem := _json_problem(text):
        raise DocumentError(file, problem)
    if not text.lstrip().startswith("["):
        return [text]
    return [bytes(raw).decode() for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]


def _read(file: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise DocumentError(file, str(error.strerror)) from None
    except UnicodeDecodeError as error:
        raise DocumentError(file, f"not UTF-8 at byte {error.start}") from None


def _json_problem(text: str) -> str | None:
    """The reason why `text` is not one JSON value; None if it is one."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return str(error)
    except RecursionError:
        return "nested too deeply"
    return None
