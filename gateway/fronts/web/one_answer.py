"""Responses to calls that have one answer."""

import math
from base64 import b64encode
from typing import Final

from gateway.concurrency.fair_queue import FairQueue
from gateway.fronts.http.coded_answers import CodedAnswers, whole
from gateway.fronts.http.compressing import MIN_BYTES, coding_of_answer
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import SERVER, HttpResponse, header_lines
from gateway.fronts.http.sending import in_step, send_parts
from gateway.fronts.web.body_parts import PART, body_parts, later_parts
from gateway.fronts.web.failure import Failure
from gateway.fronts.web.frames import frame, frame_head
from gateway.fronts.web.wires import Wire
from gateway.peers.grpc.channel import PUSHBACK_TRAILER

_JSON: Final = "application/json"
_NO_SNIFFING: Final = {"X-Content-Type-Options": "nosniff", "Server": SERVER}


async def answer_response(
    request: HttpRequest, wire: Wire, answer: bytes, answers: CodedAnswers, fair_queue: FairQueue
) -> HttpResponse | None:
    """The response that has an answer; None if it is a long one, which has been sent as the client has read it."""
    headers = {"Content-Type": wire.content_type, **_NO_SNIFFING}
    if request.method == "GET":
        headers["Cache-Control"] = "no-store"  # A list is another one by now, and a blob is not for everybody.
    if len(answer) > PART:
        await _send_long(request, wire, headers, answer, answers=answers, fair_queue=fair_queue)
        return None
    if wire.framed:
        return HttpResponse(_coded(wire, frame(answer) + wire.success()), header_lines(headers))
    if len(answer) < MIN_BYTES or coding_of_answer(request.headers) is None:
        return HttpResponse(answer, header_lines(headers))
    await answers.send(request, headers, whole(answer), len(answer))
    return None


async def _send_long(
    request: HttpRequest,
    wire: Wire,
    headers: dict[str, str],
    answer: bytes,
    *,
    answers: CodedAnswers,
    fair_queue: FairQueue,
) -> None:
    if not wire.framed:
        await answers.send(request, headers, later_parts(body_parts(answer, is_text=False)), len(answer))
        return
    head, end = frame_head(len(answer)), wire.success()
    parts = (part for piece in (head, answer, end) for part in body_parts(piece, is_text=wire.is_text))
    length = None if wire.is_text else len(head) + len(answer) + len(end)
    await send_parts(request, headers, in_step(later_parts(parts), request.connection, fair_queue), length=length)


def failed_response(wire: Wire, failure: Failure) -> HttpResponse:
    """The response to a call that has failed."""
    status, body = wire.failure(failure.code, failure.message, failure.trailers)
    headers = {"Content-Type": wire.content_type if wire.framed else _JSON, **_NO_SNIFFING}
    if not wire.framed:
        headers |= _more(failure)
    return HttpResponse(_coded(wire, body), header_lines(headers), status)


def _coded(wire: Wire, body: bytes) -> bytes:
    return b64encode(body) if wire.is_text else body


def _more(failure: Failure) -> dict[str, str]:
    """What HTTP has headers for."""
    more = {"Cache-Control": "no-store"}  # Some statuses of errors may be kept unless this is said.
    if failure.code.name == "UNAUTHENTICATED":
        more["WWW-Authenticate"] = "Bearer"
    for name, value in failure.trailers:
        if name == PUSHBACK_TRAILER:
            more["Retry-After"] = str(math.ceil(int(value) / 1_000))
    return more
