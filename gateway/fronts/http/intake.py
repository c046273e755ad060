"""What connections have received, parsed piece by piece: one read may hold tens of thousands of chunks of a body."""

import asyncio
import time
from collections import deque
from typing import Any, Final

from aiohttp import web
from aiohttp.http import RawRequestMessage

from gateway.concurrency.time_slice import SLICE_SECONDS
from gateway.core.internal_errors import release_frames, report_unexpected

PIECE: Final = 4 << 10
"""How much is parsed at once, in bytes: up to 700 chunks, a third of a millisecond."""


class Intake:
    """Gives connections their turns to parse what they have received: pieces for a slice of each turn of the loop."""

    def __init__(self) -> None:
        self._waiting: deque[PiecewiseHandler] = deque()
        self._turning = False

    def add(self, connection: "PiecewiseHandler") -> None:
        """A connection has a piece to parse."""
        self._waiting.append(connection)
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        until = time.monotonic() + SLICE_SECONDS
        while self._waiting:
            connection = self._waiting.popleft()
            try:
                connection.parse_piece()
            except Exception as error:  # A defect ends one connection, and not the turns of all.
                report_unexpected(error)
                connection.force_close()
            if time.monotonic() >= until:
                break
        self._turning = bool(self._waiting)
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)


class PiecewiseHandler(web.RequestHandler):
    """A connection that parses what it has received in pieces, and receives nothing more until all is parsed."""

    __slots__ = ("_full", "_intake", "_parsed", "_unparsed", "_waits")

    def __init__(self, server: web.Server, intake: Intake, **options: Any) -> None:
        super().__init__(server, **options)
        self._intake = intake
        self._unparsed = b""
        self._parsed = 0
        """How much of it has been parsed."""
        self._full = False
        """Whether aiohttp takes nothing more for now."""
        self._waits = False
        """Whether it waits for a turn to parse."""

    @property
    def unparsed(self) -> int:
        """How many bytes have been received and not been parsed."""
        return len(self._unparsed) - self._parsed

    def parse(self, data: bytes) -> None:
        """Parse what has been received; nothing if there is room again for what was parsed before."""
        super().data_received(data)
        if self._messages:
            message = self._messages[-1][0]
            if not isinstance(message, RawRequestMessage):
                release_frames(message.exc)
                self.cannot_parse()

    def cannot_parse(self) -> None:
        """What has been received is malformed. Its answer is due; nothing that follows can be parsed."""

    def piece(self) -> int:
        """How many bytes may be parsed at once."""
        return PIECE

    def data_received(self, data: bytes) -> None:
        """Parse a piece at once; keep more for turns of its own."""
        if not data or (not self._unparsed and (len(data) <= PIECE or len(data) <= self.piece())):
            self.parse(data)
            return
        self._unparsed = self._unparsed[self._parsed :] + data
        self._parsed = 0
        super()._pause_transport_reading()
        self._wait()

    def parse_piece(self) -> None:
        """Parse the next piece of what has been received, unless there is no room for it."""
        self._waits = False
        if self._full or not self._unparsed:
            return
        start, stop = self._parsed, self._parsed + self.piece()
        data = self._unparsed[start:stop]
        self._parsed = stop
        if stop >= len(self._unparsed):
            self._unparsed, self._parsed = b"", 0
        self.parse(data)
        if self._unparsed:
            self._wait()
        elif not self._full:
            super()._resume_transport_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """There is room in the body: its reader says so after each chunk."""
        if self._full:
            super().resume_reading(resume_parser)

    def forget_unparsed(self) -> None:
        """Parse nothing more of what has been received."""
        self._unparsed, self._parsed = b"", 0

    def _wait(self) -> None:
        if not self._full and not self._waits:
            self._waits = True
            self._intake.add(self)

    # aiohttp calls these two wherever it has too much or has room again.

    def _pause_transport_reading(self) -> None:
        self._full = True
        super()._pause_transport_reading()

    def _resume_transport_reading(self) -> None:
        self._full = False
        if self._unparsed:
            self._wait()
        else:
            super()._resume_transport_reading()
