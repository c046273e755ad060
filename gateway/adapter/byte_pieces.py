"""Bytes that come in pieces, short ones and long ones, and become one text or message in turns with everything else."""

from io import BytesIO
from typing import Final

from gateway.core.json_parts import Checkpoint

_SHORT: Final = 4 << 10
"""Pieces below this are put together at once: a list of millions of them would take more time than what they hold."""

_TOGETHER: Final = 16 << 10


class BytePieces:
    """Pieces in their order. `size` is how many bytes they have."""

    __slots__ = ("_pieces", "_short", "size")

    def __init__(self, *pieces: bytes) -> None:
        self.size = 0
        self._pieces: list[bytes] = []
        self._short = bytearray()
        for piece in pieces:
            self.add(piece)

    def add(self, piece: bytes) -> None:
        """Add a piece at the end."""
        self.size += len(piece)
        if len(piece) < _SHORT:
            self._short += piece
            if len(self._short) >= _TOGETHER:
                self._end_short()
        else:
            self._end_short()
            self._pieces.append(piece)

    def put_before(self, piece: bytes) -> None:
        """Put a short piece before all others."""
        self.size += len(piece)
        if self._pieces:
            self._pieces.insert(0, piece)
        else:
            self._short[:0] = piece

    def take(self, others: "BytePieces") -> None:
        """Add all pieces of another one, which is not used any more."""
        if not others._pieces:
            self.add(bytes(others._short))
            return
        others._end_short()
        self._end_short()
        self._pieces += others._pieces
        self.size += others.size

    async def joined(self, checkpoint: Checkpoint) -> bytes:
        """All of them as one, and none afterwards."""
        self._end_short()
        # Zeros take no memory yet: the system gives it page by page, as it is written. What grows is copied at times.
        written = BytesIO(bytes(self.size))
        self._pieces.reverse()
        while self._pieces:
            written.write(self._pieces.pop())  # One takes what the other gives back.
            await checkpoint()
        return written.getvalue()

    def _end_short(self) -> None:
        if self._short:
            self._pieces.append(bytes(self._short))
            self._short = bytearray()
