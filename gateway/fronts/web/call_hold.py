"""What a call holds besides what its servicer counts: frames that come, and messages in forms that it does not know."""

from gateway.fronts.grpc.connections import SMALL_MESSAGE, CallMemory


class CallHold:
    """While the block lasts, a call holds as much more as was asked for. Little is covered by what any call holds.

    It knows nothing of who asks, which would be a cycle.
    """

    __slots__ = ("_counted", "_memory", "_size")

    def __init__(self, memory: CallMemory) -> None:
        self._memory = memory
        self._size = 0
        self._counted = 0

    def __enter__(self) -> "CallHold":
        return self

    def grow(self, size: int) -> None:
        """Hold so many bytes more. Raises Overloaded if there is no room."""
        self._size += size
        if self._size > SMALL_MESSAGE:
            self._memory.grow(self._size - self._counted)
            self._counted = self._size

    def shrink(self, size: int) -> None:
        """Hold so many bytes less."""
        self._size -= size
        rest = self._size if self._size > SMALL_MESSAGE else 0
        if rest < self._counted:
            self._memory.shrink(self._counted - rest)
            self._counted = rest

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Hold nothing any more."""
        self.shrink(self._size)
