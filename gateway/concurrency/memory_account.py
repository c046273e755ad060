"""One account for the memory that clients can make a process hold.

Everything large draws from it before it is built: bodies while they arrive, uploads, answers until they are sent, pages
of results, the state in memory. It counts what callers say, in bytes; small things of a fixed number are not counted.
"""

from typing import Final, Literal, Self, TypeAlias, get_args

from gateway.core.errors import Overloaded
from gateway.telemetry.metrics import Cell

SMALL_BYTES: Final = 64 << 10
"""What each share may hold when others have filled the account, so that small requests pass."""

DEFAULT_BYTES: Final = 1 << 30
"""The size of an account, unless told otherwise."""

_RESERVE_FRACTION: Final = 8
"""One part in so many is kept for small requests."""

MemoryUse: TypeAlias = Literal[
    "grpc_calls",
    "http_requests",
    "event_streams",
    "workers",
    "results",
    "sets",
    "bulk_calls",
    "component_callbacks",
    "component_requests",
    "item_values",
    "nested_runs",
    "flows",
    "files",
    "blobs",
    "fingerprints",
    "submits",
    "state",
    "recent_runs",
    "other",
]
"""What memory is held for: metrics tell how much of the account each takes."""

MEMORY_USES: Final[tuple[MemoryUse, ...]] = get_args(MemoryUse)


class MemoryAccount:
    """Counts the bytes that are held, and refuses more than `limit`.

    Each client has a share. A share may grow for as long as no less stays free than it holds: the first client gets at
    most half of the memory, the next one half of the rest, and there is always room for another. One eighth is kept for
    shares that hold little. The limits of switches that share one buffer work alike ("dynamic thresholds").
    """

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        self.limit = limit
        self._common = limit - limit // _RESERVE_FRACTION
        self.held = 0
        self.uses: dict[MemoryUse, Cell] = {use: Cell() for use in MEMORY_USES}
        """How many bytes are held for each use; `held` is their sum."""

    def share(self, use: MemoryUse = "other", small: int = SMALL_BYTES) -> "MemoryShare":
        """The share of one more client: a connection, or a part of the gateway that keeps data for many.

        It takes at most `small` bytes of what is kept for small requests: 0 if one client can have many shares.
        """
        return MemoryShare(self, small, self.uses[use])

    def part(self, fraction: float, use: MemoryUse = "other") -> "MemoryPart":
        """What a part of the gateway keeps for all clients: at most this fraction of the limit."""
        return MemoryPart(self, int(self.limit * fraction), self.uses[use])

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes leave alone what is kept for shares that hold little."""
        return self.held + size <= self._common

    def fits(self, share: int, size: int, small: int = SMALL_BYTES) -> bool:
        """Whether a share that holds `share` bytes may hold `size` more."""
        if share + size <= small:
            return self.held + size <= self.limit
        return share + size <= self._common - self.held - size


class MemoryShare:
    """What one client makes the process hold."""

    __slots__ = ("_account", "_cell", "_small", "held")

    def __init__(self, account: MemoryAccount, small: int, use: Cell) -> None:
        self._account = account
        self._small = small
        self._cell = use
        self.held = 0

    def take(self, size: int) -> None:
        """Hold `size` more bytes. Raises Overloaded if the account or the share leaves no room for them."""
        account = self._account
        if not account.fits(self.held, size, self._small):
            raise Overloaded("the server has no memory left for this request", retry_after=1.0)
        self.held += size
        account.held += size
        self._cell.value += size

    def give_back(self, size: int) -> None:
        """Hold `size` bytes less."""
        self.held -= size
        self._account.held -= size
        self._cell.value -= size

    def fits(self, size: int) -> bool:
        """Whether the account and the share leave room for `size` more bytes."""
        return self._account.fits(self.held, size, self._small)

    def count(self, size: int) -> None:
        """Hold `size` more bytes that are there already, whether they fit or not; less if it is negative."""
        self.held += size
        self._account.held += size
        self._cell.value += size

    def hold(self, size: int = 0) -> "MemoryHold":
        """Hold `size` bytes, and more as it grows, for as long as a context lasts. Raises Overloaded as `take` does."""
        return MemoryHold(self, size)


class MemoryPart:
    """What a part of the gateway keeps for all clients. It has a limit of its own, which is no less for what clients
    hold, so it need not forget things because of a burst of requests. What it keeps leaves them less.
    """

    __slots__ = ("_account", "_cell", "held", "limit")

    def __init__(self, account: MemoryAccount, limit: int, use: Cell) -> None:
        self._account = account
        self._cell = use
        self.limit = limit
        self.held = 0

    def fits(self, size: int) -> bool:
        """Whether the limit of this part leaves room for `size` more bytes."""
        return self.held + size <= self.limit

    def take(self, size: int) -> None:
        """Keep `size` more bytes. Raises Overloaded if the limit, or what clients hold, leaves no room for them."""
        if not self.may_take(size):
            raise Overloaded("the server has no memory left to keep this", retry_after=1.0)

    def may_take(self, size: int) -> bool:
        """Keep `size` more bytes if there is room for them, and return whether there was."""
        account, held = self._account, self.held + size
        if held > self.limit or not account.has_room(size):
            return False
        self.held = held
        account.held += size
        self._cell.value += size
        return True

    def add(self, size: int) -> None:
        """Keep `size` more bytes, which cannot be refused."""
        self.held += size
        self._account.held += size
        self._cell.value += size

    def give_back(self, size: int) -> None:
        """Keep `size` bytes less."""
        self.held -= size
        self._account.held -= size
        self._cell.value -= size


class MemoryHold:
    """What one call holds of a share. Leaving the context gives all of it back."""

    __slots__ = ("_share", "size")

    def __init__(self, share: MemoryShare, size: int) -> None:
        if size:
            share.take(size)
        self._share = share
        self.size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.size:
            self.shrink(self.size)

    def grow(self, size: int) -> None:
        """Hold more. Raises Overloaded as `MemoryShare.take` does."""
        self._share.take(size)
        self.size += size

    def may_grow(self, size: int) -> bool:
        """Hold more if there is room for it, and return whether there was."""
        try:
            self.grow(size)
        except Overloaded:
            return False
        return True

    def shrink(self, size: int) -> None:
        """Hold less."""
        self._share.give_back(size)
        self.size -= size
