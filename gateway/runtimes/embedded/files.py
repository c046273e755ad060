"""The files that flows may load: regular ones below some directories, with no way out by links or `..`."""

import asyncio
import os
import stat
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import InvalidParams
from gateway.core.json_text import json_text, limit_text, quote
from gateway.core.model import JsonText
from gateway.core.yaml_json import EmptyYamlError, yaml_to_json

MAX_FILE_BYTES: Final = 16 << 20
"""The longest file: it is read as a whole, in a thread, which holds up others for some milliseconds."""

MAX_YAML_BYTES: Final = 1 << 20
"""The longest YAML, which takes seconds for each mebibyte. It is translated in a thread."""

FORMATS: Final = {".json": "json", ".yml": "yaml", ".yaml": "yaml"}
"""The format of a file by the ending of its name, which counts as it is spelled; all others are text."""

_NOT_FOUND: Final = "no file with this path below the directories that flows may load from (--file-directories)"
_WALKED: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_COPIES: Final = 4
"""How often the content is held at once: as bytes, as text, as JSON, and in the output."""


class LoadedFile(NamedTuple):
    """A file: its content as JSON, where it is, how many bytes it has, and how it was read."""

    data: JsonText
    path: str
    size: int
    format: str


class Files:
    """Loads files below `directories`, which are absolute paths. What is loaded draws from `account` meanwhile."""

    def __init__(self, directories: Sequence[str], account: MemoryAccount) -> None:
        self._directories = tuple(os.path.normpath(each) for each in directories)
        self._share = account.share()

    async def load(self, path: str, given_format: str | None) -> LoadedFile:
        """Load a file by a path below a directory, or by an absolute one.

        Raises InvalidParams, at `path`, if there is no such file or its content is not of the format, and Overloaded
        if no memory is left for it.
        """
        opened = await asyncio.to_thread(self._open, path)
        with opened, self._share.hold(_COPIES * opened.size):
            kind = given_format or FORMATS.get(os.path.splitext(path)[1], "text")
            return LoadedFile(await asyncio.to_thread(_read, opened, kind), opened.path, opened.size, kind)

    def _open(self, path: str) -> "_OpenFile":
        if "\0" not in path:
            for directory in self._directories:
                parts = _parts_below(directory, path)
                if not parts:
                    continue
                try:
                    return _OpenFile(_open_below(directory, parts), os.path.join(directory, *parts))
                except OSError:
                    continue
        raise InvalidParams.field("path", description=_NOT_FOUND)


class _OpenFile:
    """A regular file that is open."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor = descriptor
        self.path = path
        status = os.fstat(descriptor)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError

    def __enter__(self) -> "_OpenFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def _parts_below(directory: str, path: str) -> list[str]:
    """The names on the way from a directory to a path; none if it does not lead below it."""
    if path.startswith("/"):
        if not path.startswith(f"{directory.rstrip('/')}/"):
            return []
        path = path[len(directory) :]
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return [] if ".." in parts else parts


def _open_below(directory: str, parts: Sequence[str]) -> int:
    """Open a file by way of directories, none of which is a link. Raises OSError if that leads nowhere."""
    here = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts[:-1]:
        try:
            following = os.open(part, _WALKED | os.O_DIRECTORY, dir_fd=here)
        finally:
            os.close(here)
        here = following
    try:
        if not stat.S_ISREG(os.stat(parts[-1], dir_fd=here, follow_symlinks=False).st_mode):
            raise OSError
        # What has become a pipe meanwhile must not make the thread wait; it is refused once it is open.
        return os.open(parts[-1], _WALKED | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=here)
    finally:
        os.close(here)


def _read(opened: _OpenFile, kind: str) -> JsonText:
    """The content as JSON. Raises InvalidParams if it is too long, grows, or is not of this format."""
    limit = MAX_YAML_BYTES if kind == "yaml" else MAX_FILE_BYTES
    if opened.size > limit:
        raise InvalidParams.field("path", description=f"the file has more than {limit_text(limit)}")
    with os.fdopen(opened.descriptor, "rb", closefd=False) as file:
        content = file.read(opened.size)
    try:
        text = content.decode()
        if kind == "text":
            return quote(text)
        return json_text(text if kind == "json" else yaml_to_json(text), "path")
    except EmptyYamlError:
        return "null"
    except UnicodeDecodeError:
        raise InvalidParams.field("path", description="the file is not UTF-8") from None
    except ValueError as error:
        raise InvalidParams.field("path", description=f"the file is not {kind}: {error}") from None
