"""One account for the memory that clients can make a process hold.

Everything large draws from it before it is built: bodies while they arrive, uploads, answers until they are sent, pages
of results, the state in memory. It counts what callers say, in bytes; small things of a fixed number are not counted.
"""

from typing import Final, Self

from gateway.core.errors import Overloaded

SMALL_BYTES: Final = 64 << 10
"""What each share may hold when others have filled the account, so that small requests pass."""

DEFAULT_BYTES: Final = 1 << 30
"""The size of an account, unless told otherwise."""

_RESERVE_FRACTION: Final = 8
"""One part in so many is kept for small requests."""


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

    def share(self) -> "MemoryShare":
        """The share of one more client: a connection, or a part of the gateway that keeps data for many."""
        return MemoryShare(self)

    def fits(self, share: int, size: int) -> bool:
        """Whether a share that holds `share` bytes may hold `size` more."""
        if share + size <= SMALL_BYTES:
            return self.held + size <= self.limit
        return share + size <= self._common - self.held - size


class MemoryShare:
    """What one client makes the process hold."""

    __slots__ = ("_account", "held")

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account
        self.held = 0

    def take(self, size: int) -> None:
        """Hold `size` more bytes. Raises Overloaded if the account or the share leaves no room for them."""
        if not self._account.fits(self.held, size):
            raise Overloaded("the server has no memory left for this request", retry_after=1.0)
        self.held += size
        self._account.held += size

    def give_back(self, size: int) -> None:
        """Hold `size` bytes less."""
        self.held -= size
        self._account.held -= size

    def hold(self, size: int = 0) -> "MemoryHold":
        """Hold `size` bytes, and more as it grows, for as long as a context lasts. Raises Overloaded as `take` does."""
        return MemoryHold(self, size)


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
        self.shrink(self.size)

    def grow(self, size: int) -> None:
        """Hold more. Raises Overloaded as `MemoryShare.take` does."""
        self._share.take(size)
        self.size += size

    def shrink(self, size: int) -> None:
        """Hold less."""
        self._share.give_back(size)
        self.size -= size
