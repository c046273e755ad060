"""Reads the files of users: flows in JSON or YAML, inputs in JSON or JSON Lines. Values stay text."""

import codecs
import os
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway.cli.errors import CommandError, ExitCode
from gateway.core.json_place import json_problem, utf8_text
from gateway.core.model import JsonText

_LINES_SUFFIXES = {".jsonl", ".ndjson"}


class DocumentError(CommandError):
    """A file that cannot be used. The message names the place in it, and so does `problem`, without the file."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{name_of(file)}: {problem}", ExitCode.USAGE)
        self.problem = problem


class UnreadableError(DocumentError):
    """A file that cannot be read at all."""


class FlowDocument(NamedTuple):
    """A flow as its file has it, and its JSON, which is the same text unless the file is YAML."""

    source: str
    json: JsonText
    is_yaml: bool


def name_of(file: Path) -> str:
    """The name of a file for people."""
    return "standard input" if str(file) == "-" else str(file)


def read_flow(file: Path) -> JsonText:
    """Return the text of a flow: JSON as it is, YAML translated to JSON. `-` is standard input, JSON or YAML.

    Raises DocumentError if the file cannot be read or is neither.
    """
    return read_flow_document(file).json


def read_flow_document(file: Path) -> FlowDocument:
    """Return a flow, as `read_flow` does, and the text of its file."""
    text = _read(file)
    # JSON is nearly a subset of YAML. Text that is not JSON is read as YAML, unless the name of the file promises JSON.
    problem = json_problem(text)
    if problem is None:
        return FlowDocument(text, text, is_yaml=False)
    if file.suffix == ".json":
        raise DocumentError(file, problem)
    from gateway.core.yaml_json import yaml_to_json

    try:
        return FlowDocument(text, yaml_to_json(text), is_yaml=True)
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
    in_lines = len(lines) > 1 and json_problem(lines[0][1]) is None
    if not in_lines and file.suffix not in _LINES_SUFFIXES:
        return _read_array(file, text)
    for number, line in lines:
        if problem := json_problem(line, first_line=number):
            raise DocumentError(file, problem)
    return [line for _, line in lines]


def _read_array(file: Path, text: str) -> list[JsonText]:
    if problem := json_problem(text):
        raise DocumentError(file, problem)
    if not text.lstrip().startswith("["):
        return [text]
    return [bytes(raw).decode() for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]


def _read(file: Path) -> str:
    """Return the text of a file that has some. A file is empty by accident, as when what should write it has failed."""
    try:
        text = utf8_text(_bytes_of(file).removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise UnreadableError(file, str(error.strerror)) from None
    except ValueError as error:
        raise DocumentError(file, str(error)) from None
    if not text.strip():
        raise DocumentError(file, "is empty")
    return text


def _bytes_of(file: Path) -> bytes:
    if str(file) != "-":
        return Path(_name_on_disk(str(file))).read_bytes()
    if sys.stdin is None:
        raise UnreadableError(file, "is closed")
    return sys.stdin.buffer.read()


def _name_on_disk(name: str) -> str:
    """The name of a file as Python takes it in this locale: arguments are read as UTF-8 in all of them."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return os.fsdecode(name.encode("utf-8", "surrogateescape"))
    return name
