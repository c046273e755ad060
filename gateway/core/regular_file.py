"""Reading a file that somebody may replace at any moment, also by a pipe, whose opening would block for ever."""

import errno
import os
import stat
from typing import BinaryIO, Final

NOT_REGULAR: Final = "Not a regular file"
"""What is said of pipes, sockets and devices."""

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def opened_regular(path: str) -> BinaryIO:
    """A regular file, open for reading. Raises OSError if there is none, or something else is there.

    It waits for nobody at the other end of a pipe, neither for one that is there, nor for one that has just been put
    in the place of a file.
    """
    # Opening a device may have effects of its own, so what is there is looked at before as well.
    _refuse_others(path, os.stat(path))
    file = os.open(path, _READ)
    try:
        _refuse_others(path, os.fstat(file))
        return os.fdopen(file, "rb")
    except BaseException:
        os.close(file)
        raise


def _refuse_others(path: str, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, path)
