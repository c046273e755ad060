"""What connections have received, parsed piece by piece: one read may hold tens of thousands of chunks of a body."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

from aiohttp import StreamReader
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

from gateway.concurrency.time_slice import SLICE_SECONDS
from gateway.core.errors import GatewayError, InvalidRequest
from gateway.core.internal_errors import release_frames, report_unexpected
from gateway.fronts.http.cross_origin import CrossOrigin
from gateway.fronts.http.early_head import EarlyHead
from gateway.fronts.http.known_heads import END_OF_HEAD, KnownHeads
from gateway.fronts.http.lane import Lane
from gateway.fronts.http.malformed import MAX_HEADERS, MAX_LINE, malformed
from gateway.fronts.http.responses import raw_refusal

PIECE: Final = 4 << 10
"""How much is parsed at once, in bytes: up to 700 chunks, a third of a millisecond."""

READ_AHEAD: Final = 64 << 10
"""How much of a body that nobody reads yet is received, in bytes: twice as much, and one more packet."""

_SHORTEST: Final = len(b"GET / HTTP/1.0")
"""The shortest head without its end. What ends sooner is in a body: a piece of nothing else takes a third of a
millisecond."""

MAX_AHEAD: Final = 32
"""How many requests of a connection are parsed ahead of the one that is worked on, and the rest of a piece."""


class Intake:
    """Gives connections their turns to parse what they have received: pieces for a slice of each turn of the loop.

    What is malformed is answered by `lane` where its path is one of these, and browsers are told what `cross_origin`
    says.
    """

    def __init__(self, lane: Lane | None = None, cross_origin: CrossOrigin | None = None) -> None:
        self._lane = lane
        self._cross_origin = cross_origin
        self.heads = KnownHeads()
        self._waiting: deque[PiecewiseHandler] = deque()
        self._turning = False

    def add(self, connection: "PiecewiseHandler") -> None:
        """A connection has a piece to parse."""
        self._waiting.append(connection)
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def refusal(self, error: GatewayError, head: EarlyHead | None) -> bytes:
        """The answer to what is no request; `head` is what is known of it."""
        told = None if self._lane is None or head is None else self._lane.early_refusal(head, error)
        return raw_refusal(error, told, self.cross_origin(head))

    def cross_origin(self, head: EarlyHead | None) -> bytes:
        """The headers of such an answer that tell browsers which pages may read it."""
        if self._cross_origin is None:
            return b""
        return self._cross_origin.lines_for("" if head is None else head.origin)

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


class Arrived(NamedTuple):
    """A request that has not begun, or what was sent in the place of one, and its `path` if that is known."""

    message: RawRequestMessage | InvalidRequest
    body: StreamReader | None
    head: EarlyHead | None = None


class PiecewiseHandler(asyncio.Protocol):
    """A connection that parses what it has received in pieces, and receives nothing more until all is parsed.

    `arrived` has the requests that have been parsed, and `wake` is called when one comes.
    """

    __slots__ = (
        "_full",
        "_intake",
        "_missing",
        "_parsed",
        "_parser",
        "_unparsed",
        "_waits",
        "arrived",
        "begun",
        "transport",
    )

    def __init__(self, intake: Intake) -> None:
        self.transport: asyncio.Transport | None = None
        self.arrived: deque[Arrived] = deque()
        self._parser: HttpRequestParser | None = HttpRequestParser(
            cast(Any, self),
            asyncio.get_running_loop(),
            READ_AHEAD,
            max_line_size=MAX_LINE,
            max_headers=MAX_HEADERS,
            max_field_size=MAX_LINE,
            payload_exception=RequestPayloadError,
            auto_decompress=False,
        )
        self._intake = intake
        self._missing: int | None = 0
        """How many bytes are missing of the last request; None if that is not known, and then never again."""
        self.begun: EarlyHead | None = None
        """A head of which only the beginning has come."""
        self._unparsed = b""
        self._parsed = 0
        """How much of it has been parsed."""
        self._full = False
        """Whether the body has no room for now."""
        self._waits = False
        """Whether it waits for a turn to parse."""

    @property
    def unparsed(self) -> int:
        """How many bytes have been received and not been parsed."""
        return len(self._unparsed) - self._parsed

    def wake(self) -> None:
        """A request has arrived."""

    def cannot_parse(self) -> None:
        """What has been received is malformed. Its answer is due; nothing that follows can be parsed."""

    def force_close(self) -> None:
        """Close the connection, whatever it does."""
        if self.transport is not None:
            self.transport.close()
            self.transport = None

    def piece(self) -> int:
        """How many bytes may be parsed at once."""
        return PIECE

    def parse(self, data: bytes) -> None:
        """Parse what has been received."""
        if self._parser is None:
            return
        if self._missing == 0 and (known := self._intake.heads.find(data)) is not None:
            self.arrived.append(Arrived(*known))
            self.wake()
            return
        parsed: list[tuple[RawRequestMessage, StreamReader]] = []
        for part in _head_by_head(data):
            try:
                messages, upgraded, _ = self._parser.feed_data(part)
            except HttpProcessingError as error:
                release_frames(error)
                self._stop_parsing()
                head = None if parsed else self._head(data)
                if parsed and not parsed[-1][1].is_eof():
                    self.arrived.pop()  # It is the one that is malformed, in its body.
                    head = EarlyHead.of(parsed[-1][0])
                self.arrived.append(Arrived(malformed(error), None, head))
                self.cannot_parse()
                self.wake()
                return
            for message, body in messages:
                self.arrived.append(Arrived(message, body))
                self.wake()
            parsed += messages
            if upgraded:  # No other protocol is served. What follows is not HTTP: the connection ends with the answer.
                self._stop_parsing()
                return
        self.begun = None if parsed else self._head(data)
        self._note_missing(data, parsed)

    def _head(self, data: bytes) -> EarlyHead | None:
        """The head that data begins, or goes on with; None if it does neither, as far as is known."""
        if self._missing == 0:
            return EarlyHead.beginning(data)
        if self.begun is not None:
            self.begun.add(data)
        return self.begun

    def data_received(self, data: bytes) -> None:
        """Parse a piece at once; keep more for turns of its own."""
        if not self._unparsed and not self._is_ahead and (len(data) <= PIECE or len(data) <= self.piece()):
            self.parse(data)
            return
        self._unparsed = self._unparsed[self._parsed :] + data
        self._parsed = 0
        self._read(False)
        self._wait()

    def parse_piece(self) -> None:
        """Parse the next piece of what has been received, unless there is no room for it."""
        self._waits = False
        if self._full or self._is_ahead or not self._unparsed:
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
            self._read(True)

    def next_arrived(self) -> Arrived:
        """Take the request that is to be answered next. There must be one."""
        arrived = self.arrived.popleft()
        if self._unparsed:
            self._wait()
        return arrived

    @property
    def parses(self) -> bool:
        """Whether what comes next can be a request."""
        return self._parser is not None

    def forget_unparsed(self) -> None:
        """Parse nothing more of what has been received, nor what still comes."""
        self._unparsed, self._parsed = b"", 0
        self.arrived.clear()
        self._stop_parsing()

    def _note_missing(self, data: bytes, messages: Sequence[tuple[RawRequestMessage, StreamReader]]) -> None:
        missing = self._missing
        if missing == 0:
            missing = self._intake.heads.missing(data, messages[0][0]) if len(messages) == 1 else None
        elif missing is not None:
            missing -= len(data)
        self._missing = None if missing is None or missing < 0 else missing

    @property
    def _is_ahead(self) -> bool:
        return len(self.arrived) >= MAX_AHEAD

    def _stop_parsing(self) -> None:
        self._parser = None  # It holds this connection.

    def _wait(self) -> None:
        if not (self._full or self._waits or self._is_ahead):
            self._waits = True
            self._intake.add(self)

    def _read(self, go_on: bool) -> None:
        transport = self.transport
        if transport is not None and not transport.is_closing() and transport.is_reading() is not go_on:
            if go_on:
                transport.resume_reading()
            else:
                transport.pause_reading()

    # The reader of a body calls these.

    @property
    def connected(self) -> bool:
        """Whether more of a body can come."""
        return self.transport is not None

    def pause_reading(self) -> None:
        """The body has no room."""
        self._full = True
        self._read(False)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """There is room in the body: its reader says so after each chunk."""
        if self._full:
            self._full = False
            if self._unparsed:
                self._wait()
            else:
                self._read(True)


def _head_by_head(data: bytes) -> Iterator[bytes]:
    """What has been received, divided where heads may end: the parser drops what it has read before a malformed head.

    Longer pieces are those of a body.
    """
    start = 0
    if len(data) <= PIECE:
        while 0 <= (end := data.find(END_OF_HEAD, start + _SHORTEST)) < len(data) - len(END_OF_HEAD):
            end += len(END_OF_HEAD)
            yield data[start:end]
            start = end
    yield data[start:]
