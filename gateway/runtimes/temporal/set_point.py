"""Where a follower of a set is, in the opaque form that clients keep: the same on every gateway, and short.

It says up to which time of the engine all is told. Of the runs that have not ended before, it has sums over what was
told last of them: a gateway that comes to the same sums has nothing to tell.
"""

import hashlib
import struct
import uuid
from typing import Final, NamedTuple

BUCKETS: Final = 6
"""How many sums there are, each over a part of the runs. Where one differs, all runs of its part are told again."""

_VERSION: Final = 1
_BODY: Final = struct.Struct(f">BQ16sQ{BUCKETS}I")
_CHECK_LENGTH: Final = 6
_STEP: Final = 64


class SetPoint(NamedTuple):
    """A point. While runs are listed, `number` and `key` are when the last one was created, and its id.

    Then `number` is when, by the clock of the gateway, and grows with each change; `key` grows with what is told
    between two, and names the poller that has told it (`step_key`). What had happened by the millisecond `since` is
    told; `sums` are those of the runs that may have changed since, as they were told last (`known_runs.py`).
    """

    listing: bool
    number: int
    key: int
    since: int
    sums: tuple[int, ...]

    @property
    def origin(self) -> int:
        """Which poller has told what is before the point; 0 if it was none alone."""
        return 0 if self.listing else self.key % (1 << _STEP)

    def to_bytes(self, digest: bytes) -> bytes:
        """The form for clients, less than 64 bytes; `digest` tells the filter. Later points have greater ones."""
        stage = _VERSION << 1 | (not self.listing)
        body = _BODY.pack(stage, self.number, self.key.to_bytes(16), self.since, *self.sums)
        return body + _check(body, digest)

    @classmethod
    def from_bytes(cls, position: bytes, digest: bytes) -> "SetPoint | None":
        """The point; None if this is no position of this version, for this filter."""
        body, check = position[:-_CHECK_LENGTH], position[-_CHECK_LENGTH:]
        if len(body) != _BODY.size or check != _check(body, digest):
            return None
        stage, number, key, since, *sums = _BODY.unpack(body)
        if stage >> 1 != _VERSION or max(number, since) >= 1 << 63:
            return None
        return cls(not stage & 1, number, int.from_bytes(key), since, tuple(sums))


def run_key(run_id: str) -> int:
    """The key of a point after a run in the list; they sort as ids do."""
    return uuid.UUID(run_id).int


def step_key(step: int, origin: int = 0) -> int:
    """The key of a point that is no longer in the list of runs."""
    return step << _STEP | origin


def _check(body: bytes, digest: bytes) -> bytes:
    """A checksum that tells positions from anything else. It guards against mix-ups; a forger harms only himself."""
    return hashlib.blake2b(body + digest, digest_size=_CHECK_LENGTH, person=b"runs-gw tset").digest()
