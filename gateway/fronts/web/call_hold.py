"""What a message takes in a form that servicers do not know, beside the one that they count."""

from gateway.fronts.grpc.connections import SMALL_MESSAGE, CallMemory


class CallHold:
    """While the block lasts, a call holds as much more as was asked for. Little is covered by what any call holds."""

    __slots__ = ("_held", "_memory", "_size")

    def __init__(self, memory: CallMemory) -> None:
        self._memory = memory
        self._size = 0
        self._held = 0

    def __enter__(self) -> "CallHold":
        return self

    def __call__(self, size: int) -> None:
        """Hold so many bytes more. Raises Overloaded if there is no room."""
        self._size += size
        if self._size > SMALL_MESSAGE:
            self._memory.grow(self._size - self._held)
            self._held = self._size

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Hold nothing any more."""
        if self._held:
            self._memory.shrink(self._held)
        self._size = self._held = 0
