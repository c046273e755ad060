"""Where a follower of a set is in the log of changes, in the opaque form that clients keep.

Positions grow, as bytes, as a set goes on, also over restarts. One is valid for the same filter, in every process over
the same state.
"""

import hashlib
import struct
from enum import IntEnum
from typing import Final, NamedTuple

_VERSION: Final = 1
CURSOR_BYTES: Final = 16
"""How long a cursor is."""

START: Final = bytes(CURSOR_BYTES)
END: Final = b"\xff" * CURSOR_BYTES
"""Cursors before and after all runs."""

_BODY: Final = struct.Struct(f">BQBQ{CURSOR_BYTES}s")
_CHECK_LENGTH: Final = 8
_PERSON: Final = b"runs-gw set"


class Stage(IntEnum):
    """What is read: first the runs that there are, then the changes."""

    RUNS = 0
    CHANGES = 1


class SetPosition(NamedTuple):
    """A point in following a set.

    While runs are listed, `number` is the last change that counts for the list, and `cursor` the run that was listed
    last. Then it is the last change that was read; `cursor` is the run among those that share the number: those that
    have not changed since a restart.
    """

    stage: Stage
    number: int
    cursor: bytes = END

    def to_bytes(self, era: int, digest: bytes) -> bytes:
        """The form for clients; `era` is the opening of the state that the number is of, `digest` tells the filter."""
        body = _BODY.pack(_VERSION, era, self.stage, self.number, self.cursor)
        return body + _check(body, digest)

    @classmethod
    def from_bytes(cls, position: bytes, digest: bytes) -> "tuple[SetPosition, int] | None":
        """The point and its era; None if this is no position of this version, for this filter."""
        body, check = position[: _BODY.size], position[_BODY.size :]
        if len(position) != _BODY.size + _CHECK_LENGTH or check != _check(body, digest):
            return None
        version, era, stage, number, cursor = _BODY.unpack(body)
        if version != _VERSION or stage not in list(Stage):
            return None
        return cls(Stage(stage), number, cursor), era


def _check(body: bytes, digest: bytes) -> bytes:
    """A checksum that tells positions from anything else. It guards against mix-ups; a forger harms only himself."""
    return hashlib.blake2b(body + digest, digest_size=_CHECK_LENGTH, person=_PERSON).digest()
