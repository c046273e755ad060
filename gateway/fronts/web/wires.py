"""How the protocols write what a call is answered with."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import quote

import grpc

from gateway.core.errors import InvalidRequest
from gateway.fronts.grpc.calls import Trailers
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import MethodNotAllowed, UnsupportedMediaType
from gateway.fronts.web.connect_errors import error_body, error_json, http_status, stream_end
from gateway.fronts.web.frames import frame
from gateway.fronts.web.message_forms import FORMS, JSON, PROTO, MessageForm
from gateway.fronts.web.query import parameter
from gateway.fronts.web.timeouts import connect_timeout, grpc_timeout
from gateway.fronts.web.web_method import WebMethod

_END_OF_CONNECT: Final = 0x02
_END_OF_GRPC: Final = 0x80
"""The flags of the last frame."""

_VERSION: Final = "connect-protocol-version"

_PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class Wire(Protocol):
    """A protocol, with a form of messages. `framed`: each message is a frame."""

    content_type: str
    form: MessageForm
    framed: bool
    is_text: bool
    """Whether bodies are base64."""
    coding_header: str
    """The header that names how messages, or the body, are compressed; before it, `accept-` for answers."""

    def timeout(self, headers: Mapping[str, str]) -> float | None:
        """How long the client gives a call, in seconds; None if any time. Raises InvalidRequest."""

    def success(self) -> bytes:
        """What follows the last message."""

    def failure(self, code: grpc.StatusCode, message: str, trailers: Trailers) -> tuple[int, bytes]:
        """The status of HTTP and the body, or the rest of it, of a call that fails."""


class _Connect:
    """What all calls of Connect share."""

    is_text = False

    def timeout(self, headers: Mapping[str, str]) -> float | None:
        """By the header of Connect."""
        return connect_timeout(headers.get("Connect-Timeout-Ms"))


class ConnectUnary(_Connect):
    """A call of Connect that has one request and one answer."""

    framed = False
    coding_header = "content-encoding"

    def __init__(self, form: MessageForm) -> None:
        self.form = form
        self.content_type = f"application/{form.name}"

    def success(self) -> bytes:
        """Nothing follows the message."""
        return b""

    def failure(self, code: grpc.StatusCode, message: str, trailers: Trailers) -> tuple[int, bytes]:
        """The error is the body, in JSON whatever the form of messages."""
        return http_status(code), error_body(code, message, trailers)


class ConnectStream(_Connect):
    """A call of Connect with a stream."""

    framed = True
    coding_header = "connect-content-encoding"

    def __init__(self, form: MessageForm) -> None:
        self.form = form
        self.content_type = f"application/connect+{form.name}"

    def success(self) -> bytes:
        """The last frame."""
        return frame(stream_end(None), _END_OF_CONNECT)

    def failure(self, code: grpc.StatusCode, message: str, trailers: Trailers) -> tuple[int, bytes]:
        """The error is in the last frame."""
        return 200, frame(stream_end(error_json(code, message, trailers)), _END_OF_CONNECT)


class GrpcWeb:
    """A call of gRPC-Web."""

    framed = True
    coding_header = "grpc-encoding"

    def __init__(self, form: MessageForm, suffix: str = "", *, is_text: bool = False) -> None:
        self.form = form
        self.is_text = is_text
        self.content_type = f"application/grpc-web{'-text' if is_text else ''}{suffix}"

    def timeout(self, headers: Mapping[str, str]) -> float | None:
        """By the header of gRPC."""
        return grpc_timeout(headers.get("grpc-timeout"))

    def success(self) -> bytes:
        """The trailers, in a frame of their own."""
        return _trailers({"grpc-status": "0"})

    def failure(self, code: grpc.StatusCode, message: str, trailers: Trailers) -> tuple[int, bytes]:
        """The trailers tell the error."""
        told = {"grpc-status": str(code.value[0]), "grpc-message": quote(message, safe=_PRINTABLE)}
        for name, value in trailers:
            told[name] = b64encode(value).rstrip(b"=").decode() if isinstance(value, bytes) else value
        return 200, _trailers(told)


def _trailers(trailers: Mapping[str, str]) -> bytes:
    return frame("".join(f"{name}: {value}\r\n" for name, value in trailers.items()).encode(), _END_OF_GRPC)


def _by_type(*wires: Wire) -> dict[str, Wire]:
    return {wire.content_type: wire for wire in wires}


_WEB: Final = _by_type(
    *(GrpcWeb(PROTO, is_text=is_text) for is_text in (False, True)),
    *(GrpcWeb(form, f"+{form.name}", is_text=is_text) for form in FORMS.values() for is_text in (False, True)),
)
_UNARY: Final = _by_type(*map(ConnectUnary, FORMS.values())) | _WEB
_STREAM: Final = _by_type(*map(ConnectStream, FORMS.values())) | _WEB
_READS: Final = {form.name: ConnectUnary(form) for form in FORMS.values()}

REFUSING: Final = ConnectUnary(JSON)
"""How a request is refused that is in no protocol."""


def declared_wire(request: HttpRequest) -> Wire | None:
    """The protocol that the content type of a request names, if it is one."""
    return named_wire(_content_type(request))


def named_wire(media_type: str) -> Wire | None:
    """The protocol that a media type names, if it is one."""
    return _UNARY.get(media_type) or _STREAM.get(media_type)


def wire_for(request: HttpRequest, method: WebMethod) -> Wire:
    """The protocol of a request for a method.

    Raises MethodNotAllowed if HTTP has another method for it, UnsupportedMediaType if it is none that can serve the
    method, and InvalidRequest if it is a version of Connect that is not served.
    """
    if request.method == "GET" and method.is_unary and method.reads_only:
        return _wire_of_get(request)
    if request.method != "POST":
        raise MethodNotAllowed("POST, GET" if method.reads_only else "POST")
    wires = _UNARY if method.is_unary else _STREAM
    wire = wires.get(_content_type(request))
    if wire is None:
        raise UnsupportedMediaType(f"expected content-type: {', '.join(wires)}")
    if request.headers.get(_VERSION, "1") != "1" and not isinstance(wire, GrpcWeb):
        raise InvalidRequest(f"{_VERSION}: expected 1")
    return wire


def _wire_of_get(request: HttpRequest) -> Wire:
    if parameter(request, "connect") not in (None, "v1"):
        raise InvalidRequest("connect: expected v1")
    wire = _READS.get(parameter(request, "encoding") or "")
    if wire is None:
        raise InvalidRequest(f"encoding: expected {' or '.join(_READS)}")
    return wire


def _content_type(request: HttpRequest) -> str:
    if request.charset not in (None, "utf-8", "utf8"):
        return ""
    return request.media_type
