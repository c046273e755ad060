"""Answers that are sent as they are, or encoded for clients that ask for it."""

from collections.abc import AsyncGenerator, Mapping

from gateway.concurrency.fair_queue import FairQueue
from gateway.fronts.http.compressing import MIN_BYTES, coding_of_answer, compressed
from gateway.fronts.http.long_texts import LongText
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import BINARY_HEADERS, BINARY_LINES, JSON_HEADERS, JSON_LINES, HttpResponse
from gateway.fronts.http.sending import in_step, send_parts


class CodedAnswers:
    """Sends answers. The work that long ones take passes `fair_queue`."""

    def __init__(self, fair_queue: FairQueue) -> None:
        self._fair_queue = fair_queue

    async def send_text(self, request: HttpRequest, text: LongText) -> None:
        """Send a long text of JSON."""
        await self.send(request, JSON_HEADERS, text.parts(), text.content_length)

    async def send(
        self,
        request: HttpRequest,
        headers: Mapping[str, str],
        parts: AsyncGenerator[bytes, None],
        length: int | None,
    ) -> None:
        """Send a body that is made in parts, which are closed; `length` is its length in bytes, if it is known."""
        connection = request.connection
        coding = coding_of_answer(request.headers)
        headers = {**headers, "Vary": "Accept-Encoding"}
        with connection.share.hold() as held:
            if coding is not None and held.may_grow(coding.memory):
                headers["Content-Encoding"] = coding.name
                parts, length = compressed(parts, coding, self._fair_queue), None
            parts = in_step(parts, connection, self._fair_queue)
            await send_parts(request, headers, parts, length=length)

    async def send_whole(self, request: HttpRequest, content: bytes, *, binary: bool = False) -> HttpResponse | None:
        """Answer shortly: at once, unless it is long enough to be encoded for a client that asks for it."""
        if len(content) < MIN_BYTES or coding_of_answer(request.headers) is None:
            return HttpResponse(content, BINARY_LINES if binary else JSON_LINES)
        await self.send(request, BINARY_HEADERS if binary else JSON_HEADERS, whole(content), len(content))
        return None


async def whole(part: bytes) -> AsyncGenerator[bytes, None]:
    """Yield a body that is one part."""
    yield part
