"""Where a follower of a set is, in the opaque form that clients keep: the same on every gateway.

It says up to which time of the engine all is told, and for the runs that have not ended before, what was told last.
"""

import hashlib
import struct
import uuid
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from gateway.core.model import RunStatus

MAX_MARKS: Final = 100
"""How many runs a point remembers at most. What others were told may be told again by another gateway; none is lost."""

_VERSION: Final = 1
_BODY: Final = struct.Struct(">BBQ16sQ")
_CHECK_LENGTH: Final = 8
_HASH: Final = 4


class SetPoint(NamedTuple):
    """A point. While runs are listed, `number` and `key` are when the last one was created, and its id.

    Then `number` grows with each change, and `key` with what is told between two. What had happened by the millisecond
    `since` is told; `marks` tell, by `run_mark`, what was told last (`state_mark`) of runs that may have changed since.
    """

    listing: bool
    number: int
    key: int
    since: int
    marks: dict[bytes, bytes]

    def to_bytes(self, digest: bytes) -> bytes:
        """The form for clients; `digest` tells the filter. Points that come later have greater ones."""
        body = _BODY.pack(_VERSION, not self.listing, self.number, self.key.to_bytes(16), self.since)
        body += b"".join(run + state for run, state in islice(reversed(self.marks.items()), MAX_MARKS))
        return body + _check(body, digest)

    @classmethod
    def from_bytes(cls, position: bytes, digest: bytes) -> "SetPoint | None":
        """The point; None if this is no position of this version, for this filter."""
        body, check = position[:-_CHECK_LENGTH], position[-_CHECK_LENGTH:]
        rest = len(body) - _BODY.size
        if rest < 0 or rest % (2 * _HASH) or rest > MAX_MARKS * 2 * _HASH or check != _check(body, digest):
            return None
        version, stage, number, key, since = _BODY.unpack_from(body)
        if version != _VERSION or stage > 1 or max(number, since) >= 1 << 63:
            return None
        places = range(_BODY.size, len(body), 2 * _HASH)
        marks = {body[at : at + _HASH]: body[at + _HASH : at + 2 * _HASH] for at in reversed(places)}
        return cls(not stage, number, int.from_bytes(key), since, marks)


def run_key(run_id: str) -> int:
    """The key of a point after a run; they sort as ids do."""
    return uuid.UUID(run_id).int


def run_mark(run_id: str) -> bytes:
    """What marks a run."""
    return hashlib.blake2b(run_id.encode(), digest_size=_HASH).digest()


def state_mark(status: RunStatus, *, inside: bool) -> bytes:
    """What marks a state that was told, and whether the run was `inside` the set with it."""
    mark = bytearray(hashlib.blake2b(msgspec.json.encode(status), digest_size=_HASH).digest())
    mark[-1] = mark[-1] & ~1 | inside
    return bytes(mark)


def was_inside(mark: bytes) -> bool:
    """What `state_mark` was told."""
    return bool(mark[-1] & 1)


def _check(body: bytes, digest: bytes) -> bytes:
    """A checksum that tells positions from anything else. It guards against mix-ups; a forger harms only himself."""
    return hashlib.blake2b(body + digest, digest_size=_CHECK_LENGTH, person=b"runs-gw tset").digest()
