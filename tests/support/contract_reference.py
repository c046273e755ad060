"""docs/contract.md: the contract as a page, made from protos/.

`python -m tests.support.contract_reference` writes it.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from tests.support.tables import markdown_table

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = ROOT / "docs/contract.md"
TARGET: Final = "contract-reference"
FILES: Final = ("runs/v1/runs.proto", "runs/v1/blobs.proto")

_SERVICE, _MESSAGE, _ENUM, _FIELD, _VALUE, _METHOD = 6, 4, 5, 2, 2, 2
"""Numbers of fields of descriptors: the paths of comments are made of them."""

_WELL_KNOWN: Final = "https://protobuf.dev/reference/protobuf/google.protobuf/"
_HEAD: Final = f"""# Contract

<!-- This page is made by `make {TARGET}` from protos/. -->

The gRPC contract, `runs.v1`, as the comments in [protos/runs/v1](../protos/runs/v1) specify it. Released clients go on
working: fields are added, and none changes its meaning. Each error is in [errors](errors.md), and
[guarantees](guarantees.md) has what holds beyond single calls. A name in backquotes at the beginning of a meaning is
that of the member in [JSON-RPC](guarantees.md#json-rpc-over-http).
"""


def descriptors(protoc: Sequence[str]) -> list[FileDescriptorProto]:
    """The files of the contract with their comments, read by this compiler of protobuf."""
    with tempfile.NamedTemporaryFile() as made:
        options = ["-I", str(ROOT / "protos"), "--include_source_info", f"--descriptor_set_out={made.name}"]
        subprocess.run([*protoc, *options, *FILES], check=True)
        files = FileDescriptorSet.FromString(Path(made.name).read_bytes()).file
    return sorted(files, key=lambda file: FILES.index(file.name))


class Comments:
    """The comments of a file, by the paths of what they are about."""

    def __init__(self, file: FileDescriptorProto, names: set[str]) -> None:
        self._texts = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        self._names = names

    def text(self, *path: int) -> str:
        """A comment in Markdown, with links to the messages that it names."""
        lines = [line.removeprefix(" ").rstrip() for line in self._texts.get(path, "").splitlines()]
        lines = [line for line in lines if not line.startswith("buf:lint:")]
        made: list[str] = []
        for line in lines:
            if line.startswith("- ") and made and made[-1] and not re.match(r"- |  ", made[-1]):
                made.append("")
            made.append(line)
        text = "\n".join(made).strip()
        return re.sub(r"`(\w+)((?:\.\w+)?)`", self._linked, text)

    def _linked(self, match: re.Match[str]) -> str:
        return f"[{match[0]}](#{match[1].lower()})" if match[1] in self._names else match[0]

    def cell(self, *path: int) -> str:
        """The comment in one line, for a table."""
        return re.sub(r"\s+", " ", self.text(*path)).replace("|", "\\|")


def reference(files: Iterable[FileDescriptorProto]) -> str:
    """The whole page."""
    files = list(files)
    names = {kind.name for file in files for kind in file.message_type} | {
        kind.name for file in files for kind in file.enum_type
    }
    parts = [_HEAD]
    comments = [(file, Comments(file, names)) for file in files]
    for file, told in comments:
        for number, service in enumerate(file.service):
            parts.append(f"## {service.name}\n\n{told.text(_SERVICE, number)}\n")
            for index, method in enumerate(service.method):
                parts += [
                    f"### {method.name}\n",
                    _signature(method),
                    told.text(_SERVICE, number, _METHOD, index) + "\n",
                ]
    parts.append("## Messages\n")
    for file, told in comments:
        for number, message in enumerate(file.message_type):
            parts += _message(message, told, number)
    parts.append("## Enumerations\n")
    for file, told in comments:
        for number, enum in enumerate(file.enum_type):
            parts += _enum(enum, told, number)
    return "\n".join(parts)


def _signature(method: MethodDescriptorProto) -> str:
    """What a method takes and gives, with links."""
    taken, given = method.input_type.rpartition(".")[2], method.output_type.rpartition(".")[2]
    before, after = "a stream of " * method.client_streaming, "a stream of " * method.server_streaming
    return f"Takes {before}[`{taken}`](#{taken.lower()}), gives {after}[`{given}`](#{given.lower()}).\n"


def _message(message: DescriptorProto, told: Comments, number: int) -> Iterator[str]:
    yield f"### {message.name}\n\n{told.text(_MESSAGE, number)}\n"
    rows = [
        (str(field.number), f"`{field.name}`", _type(field, message), told.cell(_MESSAGE, number, _FIELD, index))
        for index, field in enumerate(message.field)
    ]
    if rows:
        yield markdown_table(("", "field", "type", "meaning"), rows)


def _type(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    """The type of a field as readers of the contract know it."""
    if field.type_name:
        entry = {nested.name: nested for nested in message.nested_type}.get(field.type_name.rpartition(".")[2])
        if entry is not None:
            key, value = (_type(part, entry) for part in entry.field)
            return f"map of {key} to {value}"
    name = _linked_type(field)
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    if field.proto3_optional:
        return f"optional {name}"
    return f"{name}, one of `{message.oneof_decl[field.oneof_index].name}`" if field.HasField("oneof_index") else name


def _linked_type(field: FieldDescriptorProto) -> str:
    name = field.type_name.rpartition(".")[2]
    if field.type_name.startswith(".google.protobuf."):
        return f"[`{name}`]({_WELL_KNOWN}#{name.lower()})"
    if name:
        return f"[`{name}`](#{name.lower()})"
    return f"`{FieldDescriptorProto.Type.Name(field.type).removeprefix('TYPE_').lower()}`"


def _enum(enum: EnumDescriptorProto, told: Comments, number: int) -> Iterator[str]:
    yield f"### {enum.name}\n\n{told.text(_ENUM, number)}\n"
    rows = [
        (str(value.number), f"`{value.name}`", told.cell(_ENUM, number, _VALUE, index))
        for index, value in enumerate(enum.value)
    ]
    yield markdown_table(("", "value", "meaning"), rows)


def main() -> None:
    """Write the page, with the compiler that `make` has set up."""
    protoc = (str(ROOT / ".cache/codegen/bin/python"), "-m", "grpc_tools.protoc")
    DOCUMENT.write_text(reference(descriptors(protoc)), encoding="utf-8")


if __name__ == "__main__":
    main()
