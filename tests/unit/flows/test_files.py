"""The files that flows may load: below some directories, and nowhere else."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import InvalidParams, Overloaded
from gateway.core.json_text import string
from gateway.flows import files
from gateway.flows.files import Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An allowed directory, `in`, beside a secret."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("secret")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "file").write_text("secret")
    allowed = tmp_path / "in"
    (allowed / "deep").mkdir(parents=True)
    (allowed / "a.json").write_text(' {"a": 1.0, "b": [12345678901234567890123]}\n')
    (allowed / "deep" / "b.yml").write_text("a: 2.50\nb: yes\nc: 2020-01-01\n")
    (allowed / "t.txt").write_text('hé\r\n"')
    return allowed


def loader(*directories: Path) -> Files:
    return Files([str(each) for each in directories], MemoryAccount())


async def test_the_format_is_that_of_the_ending_or_as_given(folder: Path) -> None:
    loaded = await loader(folder).load("a.json", None)
    assert loaded == ('{"a": 1.0, "b": [12345678901234567890123]}', str(folder / "a.json"), 44, "json")
    assert (await loader(folder).load("deep/b.yml", None)).data == '{"a":2.50,"b":"yes","c":"2020-01-01"}'
    assert string((await loader(folder).load(str(folder / "t.txt"), None)).data) == 'hé\r\n"'
    assert string((await loader(folder).load("./deep//b.yml", "text")).data).startswith("a: 2.50")


async def test_directories_are_tried_in_turn(folder: Path) -> None:
    both = loader(folder.parent / "outside", folder)
    assert (await both.load("t.txt", None)).path == str(folder / "t.txt")
    assert (await both.load("file", None)).path == str(folder.parent / "outside" / "file")


@pytest.mark.parametrize("spelling", ["/{above}//in/a.json", "/./{above}/./in/.//a.json", "//{above}/in/./a.json"])
async def test_an_absolute_path_may_be_spelled_in_any_way(folder: Path, spelling: str) -> None:
    path = spelling.format(above=str(folder.parent).strip("/"))
    for directory in (folder, Path("/"), f"/{folder}/", f"{folder}/deep/.."):
        loaded = await Files([str(directory)], MemoryAccount()).load(path, None)
        assert loaded.path == str(folder / "a.json")


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "deep/../../secret",
        "{parent}/secret",
        "{folder}/../secret",
        "{parent}/inside/file",
        "link",
        "linked/file",
        "deep/absolute",
        "pipe",
        "deep",
        "",
        ".",
        "/",
        "{folder}",
        "missing",
        "t.txt/x",
        "a.json/",
        "a.json//",
        "a.json/.",
        "{folder}/a.json/",
        "{folder}x/a.json",
        "a\0b",
        "x" * 5_000,
        "/dev/zero",
        "/etc/passwd",
    ],
)
async def test_no_way_leads_out(folder: Path, path: str) -> None:
    (folder / "link").symlink_to("../secret")
    (folder / "linked").symlink_to(folder.parent / "outside")
    (folder / "deep" / "absolute").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    descriptors = set(os.listdir("/proc/self/fd"))
    with pytest.raises(InvalidParams, match="no file with this path"):
        await loader(folder).load(path.format(folder=folder, parent=folder.parent), "text")
    assert set(os.listdir("/proc/self/fd")) <= descriptors


async def test_without_directories_there_are_no_files(folder: Path) -> None:
    with pytest.raises(InvalidParams, match="--file-directories"):
        await loader().load(str(folder / "t.txt"), None)


@pytest.mark.parametrize(
    ("content", "kind", "fault"),
    [
        (b"a\n\xff", "text", "the file is not text: line 2, column 1: not UTF-8 (byte 0xff)"),
        (b'["\xff"]', "json", "the file is not json: line 1, column 3: not UTF-8 (byte 0xff)"),
        (b"[1,\n2", "json", "the file is not json: line 2, column 2: not a JSON value: the text ends too early"),
        (b"", "json", "the file is not json: line 1, column 1: not a JSON value: the text ends too early"),
        (b"a: [", "yaml", "the file is not yaml: line 1, column 5: "),
        (b"a: !tag 1", "yaml", "the file is not yaml: line 1, column 4: JSON has no !tag"),
        (b"a: 0x" + b"f" * 9_000, "yaml", "the file is not yaml: line 1, column 4: a hexadecimal or octal number"),
        (b'a: "\0"', "yaml", "the file is not yaml: line 1, column 5: the character U+0000 is not allowed in YAML"),
    ],
)
async def test_what_is_not_of_the_format_is_refused(folder: Path, content: bytes, kind: str, fault: str) -> None:
    (folder / "bad").write_bytes(content)
    with pytest.raises(InvalidParams, match=f"^path: {re.escape(fault)}"):
        await loader(folder).load("bad", kind)


async def test_files_are_bounded_and_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "large").write_bytes(b"x" * 100_000)
    with pytest.raises(Overloaded):
        await Files([str(folder)], MemoryAccount(100_000)).load("large", None)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 99_999)
    with pytest.raises(InvalidParams, match="more than 99,999 bytes"):
        await loader(folder).load("large", None)


@pytest.mark.parametrize(("kind", "limit"), [("text", "16 MiB"), ("json", "16 MiB"), ("yaml", "1 MiB")])
async def test_a_file_for_which_no_memory_could_be_there_is_too_long(folder: Path, kind: str, limit: str) -> None:
    (folder / "huge").touch()
    os.truncate(folder / "huge", 100 << 30)
    with pytest.raises(InvalidParams, match=f"the file has more than {limit}"):
        await loader(folder).load("huge", kind)


@pytest.mark.parametrize(("content", "expected"), [("héé", "héé"), ("", ""), ('hé\r\n"more', 'hé\r\n"')])
async def test_the_size_is_that_of_what_was_read(
    folder: Path, content: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = files._read

    def read_after_change(*args: Any) -> Any:
        (folder / "t.txt").write_text(content)
        return read(*args)

    monkeypatch.setattr(files, "_read", read_after_change)
    loaded = await loader(folder).load("t.txt", None)
    assert (string(loaded.data), loaded.size) == (expected, len(expected.encode()))


async def test_an_empty_yaml_is_null(folder: Path) -> None:
    (folder / "empty.yaml").touch()
    assert (await loader(folder).load("empty.yaml", None)).data == "null"
