"""A bearer token in a file, which is read anew when the file changes."""

import logging
import time
from typing import Final

from gateway.core.regular_file import opened_regular
from gateway.core.tls_files import Stamp, file_stamps

LOOK_SECONDS: Final = 1.0
"""How often to look whether the file has changed, at most."""

_LARGEST: Final = 16 << 10

_log = logging.getLogger(__name__)


class TokenFileError(Exception):
    """The file holds no token. The message is one line that names the file, and nothing of its content."""


class TokenFile:
    """The token in a file: one line. Threads may share it.

    A file that cannot be used any more is logged once, and the token that was read last stays.
    """

    def __init__(self, path: str, look_seconds: float = LOOK_SECONDS) -> None:
        """Read the file. Raises TokenFileError if it holds no token."""
        self._path = path
        self._look_seconds = look_seconds
        self._stamps = file_stamps((path,))
        self._value = _read(path)
        self._look_at = time.monotonic() + look_seconds

    @property
    def authorization(self) -> str:
        """The value of the header `authorization`."""
        if time.monotonic() >= self._look_at:
            self._look()
        return self._value

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The same as metadata of a gRPC call."""
        return (("authorization", self.authorization),)

    def _look(self) -> None:
        self._look_at = time.monotonic() + self._look_seconds
        stamps: tuple[Stamp | None, ...] = file_stamps((self._path,))
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._value = _read(self._path)
        except TokenFileError as error:
            _log.warning("%s; the token that was there before stays in use", error)

    def __repr__(self) -> str:
        return f"TokenFile({self._path!r})"


def _read(path: str) -> str:
    try:
        with opened_regular(path) as file:
            token = file.read(_LARGEST + 1).strip()
    except OSError as error:
        raise TokenFileError(f"the token file {path} cannot be read: {error.strerror}") from None
    if not token or len(token) > _LARGEST or any(byte <= 0x20 or byte >= 0x7F for byte in token):
        raise TokenFileError(f"the token file {path} does not hold one token on one line")
    return f"Bearer {token.decode('ascii')}"
