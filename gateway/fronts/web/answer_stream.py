"""The answers of a call, written to its client as they come."""

from base64 import b64encode

from gateway.concurrency.fair_queue import FairQueue
from gateway.fronts.http.coded_answers import whole
from gateway.fronts.http.compressing import MIN_BYTES, Coding, coding_by_header, compressed
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import SERVER, header_lines
from gateway.fronts.http.sending import cut
from gateway.fronts.http.writing import BodyWriter
from gateway.fronts.web.body_parts import PART, body_parts
from gateway.fronts.web.failure import Failure
from gateway.fronts.web.frames import COMPRESSED, frame, frame_head
from gateway.fronts.web.wires import Wire


class AnswerStream:
    """Writes the messages of a call in frames. Writing raises ClientLeft if the client has left."""

    def __init__(self, request: HttpRequest, wire: Wire, fair_queue: FairQueue) -> None:
        self._request = request
        self._connection = request.connection
        self._wire = wire
        self._fair_queue = fair_queue
        self._coding = coding_by_header(request.headers, _accepting(wire.coding_header))
        self._writer = BodyWriter(request, _lines(wire, self._coding), None)
        self._is_whole = True
        """Whether what was written ends with a message."""

    def begin(self) -> None:
        """Let the client know that the call is served, before there is an answer."""
        self._writer.begin()

    async def send(self, message: bytes) -> None:
        """Send a message, when what was written before has left this process."""
        flags = 0
        if self._coding is not None and len(message) >= MIN_BYTES:
            message, flags = await self._coded(message, self._coding)
        if len(message) <= PART:
            self._write(frame(message, flags))
        else:
            self._is_whole = False
            self._write(frame_head(len(message), flags))
            for part in body_parts(message, is_text=self._wire.is_text):
                self._writer.write(part)
                await self._drained()
                await self._fair_queue.yield_turn()
            self._is_whole = True
        del message
        await self._drained()

    async def _coded(self, message: bytes, coding: Coding) -> tuple[bytes, int]:
        """A message and its flags: compressed, if there is memory for what that takes."""
        with self._connection.share.hold() as held:
            if not held.may_grow(coding.memory):
                return message, 0
            parts = [part async for part in compressed(whole(message), coding, self._fair_queue)]
        return b"".join(parts), COMPRESSED

    def succeed(self) -> None:
        """End the call."""
        self._write(self._wire.success())
        self._writer.end()

    def fail(self, failure: Failure) -> None:
        """End the call with a status. Within a message it would be taken for the rest of that: the response is cut."""
        if not self._is_whole:
            cut(self._request)
            return
        self._write(self._wire.failure(*failure)[1])
        self._writer.end()

    async def _drained(self) -> None:
        if self._connection.writing_paused:
            await self._connection.drained()

    def _write(self, piece: bytes) -> None:
        self._writer.write(b64encode(piece) if self._wire.is_text else piece)


def _accepting(header: str) -> str:
    """The header by which a client tells which codings it takes, next to the one that names a coding."""
    prefix, _, rest = header.rpartition("content-")
    if rest == "encoding":
        return f"{prefix}accept-encoding"
    return header.replace("grpc-", "grpc-accept-")


def _lines(wire: Wire, coding: Coding | None) -> bytes:
    headers = {"Content-Type": wire.content_type, "Cache-Control": "no-store, no-transform", "Server": SERVER}
    if coding is not None:
        headers[wire.coding_header.title()] = coding.name
    return header_lines(headers)
