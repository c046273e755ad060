"""Responses to calls that have one answer."""

import math
from base64 import b64encode
from typing import Final

from gateway.fronts.http.coded_answers import CodedAnswers, whole
from gateway.fronts.http.compressing import MIN_BYTES, coding_of_answer
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import SERVER, HttpResponse, header_lines
from gateway.fronts.web.failure import Failure
from gateway.fronts.web.frames import frame
from gateway.fronts.web.wires import Wire
from gateway.peers.grpc.channel import PUSHBACK_TRAILER

_JSON: Final = "application/json"
_NO_SNIFFING: Final = {"X-Content-Type-Options": "nosniff", "Server": SERVER}


async def answer_response(
    request: HttpRequest, wire: Wire, answer: bytes, answers: CodedAnswers
) -> HttpResponse | None:
    """The response that has an answer; None if it is a long one, which has been sent."""
    headers = {"Content-Type": wire.content_type, **_NO_SNIFFING}
    if request.method == "GET":
        headers["Cache-Control"] = "no-store"  # A list is another one by now, and a blob is not for everybody.
    body = _framed(wire, frame(answer) + wire.success()) if wire.framed else answer
    if wire.framed or len(body) < MIN_BYTES or coding_of_answer(request.headers) is None:
        return HttpResponse(body, header_lines(headers))
    await answers.send(request, headers, whole(body), len(body))
    return None


def failed_response(wire: Wire, failure: Failure) -> HttpResponse:
    """The response to a call that has failed."""
    status, body = wire.failure(failure.code, failure.message, failure.trailers)
    headers = {"Content-Type": wire.content_type if wire.framed else _JSON, **_NO_SNIFFING}
    if not wire.framed:
        headers |= _more(failure)
    return HttpResponse(_framed(wire, body), header_lines(headers), status)


def _framed(wire: Wire, body: bytes) -> bytes:
    return b64encode(body) if wire.is_text else body


def _more(failure: Failure) -> dict[str, str]:
    """What HTTP has headers for."""
    more = {"WWW-Authenticate": "Bearer"} if failure.code.name == "UNAUTHENTICATED" else {}
    for name, value in failure.trailers:
        if name == PUSHBACK_TRAILER:
            more["Retry-After"] = str(math.ceil(int(value) / 1_000))
    return more
