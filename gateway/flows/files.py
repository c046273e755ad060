"""The files that flows may load: regular ones below some directories, with no way out by links or `..`."""

import asyncio
import os
import stat
from collections.abc import Sequence
from typing import BinaryIO, Final, NamedTuple

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import InvalidParams
from gateway.core.json_place import json_problem, utf8_text
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
    """A file: its content as JSON, where it is, how many bytes that content had, and how it was read."""

    data: JsonText
    path: str
    size: int
    format: str


class Files:
    """Loads files below `directories`, which are absolute paths. What is loaded draws from `account` meanwhile."""

    def __init__(self, directories: Sequence[str], account: MemoryAccount) -> None:
        self._directories = tuple(tuple(_names(os.path.normpath(each))) for each in directories)
        self._share = account.share("files")

    async def load(self, path: str, given_format: str | None) -> LoadedFile:
        """Load a file by a path below a directory, or by an absolute one.

        Raises InvalidParams, at `path`, if there is no such file or its content is not of the format, and Overloaded
        if no memory is left for it.
        """
        kind = given_format or FORMATS.get(os.path.splitext(path)[1], "text")
        limit = MAX_YAML_BYTES if kind == "yaml" else MAX_FILE_BYTES
        file = await asyncio.to_thread(self._find, path)
        if file.size > limit:
            raise InvalidParams.field("path", description=f"the file has more than {limit_text(limit)}")
        with self._share.hold(_COPIES * file.size):
            data, size = await asyncio.to_thread(_read, file, kind)
            return LoadedFile(data, file.path, size, kind)

    def _find(self, path: str) -> "_File":
        if "\0" not in path:
            for directory in self._directories:
                parts = _parts_below(directory, path)
                if not parts:
                    continue
                file = _File(f"/{'/'.join(directory)}", parts)
                try:
                    with file.opened() as content:
                        return file._replace(size=os.fstat(content.fileno()).st_size)
                except OSError:
                    continue
        raise InvalidParams.field("path", description=_NOT_FOUND)


class _File(NamedTuple):
    """A regular file below a directory, and how many bytes it had.

    The thread that opens it closes it: an item may be cancelled while a thread still reads.
    """

    directory: str
    parts: Sequence[str]
    size: int = 0

    @property
    def path(self) -> str:
        """Its absolute path."""
        return os.path.join(self.directory, *self.parts)

    def opened(self) -> BinaryIO:
        """The file, open. Raises OSError if it is not there any more."""
        descriptor = _open_below(self.directory, self.parts)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError
        return os.fdopen(descriptor, "rb")


def _names(path: str) -> list[str]:
    """The names that a path consists of: repeated slashes and `.` are none."""
    return [name for name in path.split("/") if name not in ("", ".")]


def _parts_below(directory: tuple[str, ...], path: str) -> list[str]:
    """The names on the way from a directory to a path; none if it does not lead to a file below it.

    A path that ends with a slash or with `.` means a directory.
    """
    parts = _names(path)
    if ".." in parts or path.rpartition("/")[2] in ("", "."):
        return []
    if path.startswith("/"):
        above = len(directory)
        return parts[above:] if tuple(parts[:above]) == directory else []
    return parts


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


def _read(file: _File, kind: str) -> tuple[JsonText, int]:
    """The content as JSON, and how many bytes it had. Raises InvalidParams if it is not of this format.

    Of a file that has grown meanwhile, what was added is left out: no memory is held for it.
    """
    try:
        with file.opened() as content:
            read = content.read(file.size)
    except OSError:
        raise InvalidParams.field("path", description=_NOT_FOUND) from None
    return _to_json(read, kind), len(read)


def _to_json(content: bytes, kind: str) -> JsonText:
    try:
        text = utf8_text(content)
        if kind == "text":
            return quote(text)
        text = text if kind == "json" else yaml_to_json(text)
        return json_text(text, "path")
    except EmptyYamlError:
        return "null"
    except InvalidParams:
        raise InvalidParams.field("path", description=f"the file is not {kind}: {json_problem(text)}") from None
    except ValueError as error:
        raise InvalidParams.field("path", description=f"the file is not {kind}: {error}") from None
