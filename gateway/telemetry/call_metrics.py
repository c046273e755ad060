"""What is counted of calls, under the names and labels that dashboards for gRPC servers know.

Calls count where clients and components call, and once: what a worker passes on to the runtime is no call of a client.
"""

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from gateway.telemetry.metrics import OTHER, Cell, Counter, Distribution, Gauge, Histogram
from gateway.telemetry.semconv import GRPC_CODES

CallOrigin: TypeAlias = Literal["client", "component"]

SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""The upper bounds of how long calls take: those that gRPC dashboards know, with shorter and longer ones."""

OK: Final = "ok"
CANCELLED: Final = "canceled"
"""The code of a call of JSON-RPC whose client left, so that nothing answers it."""

_GRPC: Final = ("grpc_type", "grpc_service", "grpc_method")
_JSONRPC: Final = ("jsonrpc_method", "origin")
_RESERVED: Final = range(-32_768, -31_999)
"""The codes that JSON-RPC reserves. Another server may make up others: they are `other`."""

_GRPC_NAMES: Final = {code: code.title().replace("_", "") for code in GRPC_CODES} | {
    "OK": "OK",
    "CANCELLED": "Canceled",
}

GRPC_STARTED: Final = Counter("grpc_server_started_total", "Calls over gRPC that have begun.", _GRPC)
GRPC_HANDLED: Final = Counter(
    "grpc_server_handled_total", "Calls over gRPC that have ended, by their status.", (*_GRPC, "grpc_code")
)
GRPC_RECEIVED: Final = Counter("grpc_server_msg_received_total", "Messages of gRPC calls that have come.", _GRPC)
GRPC_SENT: Final = Counter("grpc_server_msg_sent_total", "Messages that gRPC calls have been answered with.", _GRPC)
GRPC_SECONDS: Final = Histogram(
    "grpc_server_handling_seconds", "How long calls over gRPC have taken, streams included.", SECONDS, _GRPC
)
JSONRPC_STARTED: Final = Counter(
    "jsonrpc_server_started_total", "Calls of JSON-RPC that have begun: those of clients, and of components.", _JSONRPC
)
JSONRPC_HANDLED: Final = Counter(
    "jsonrpc_server_handled_total",
    "Calls of JSON-RPC that have ended: `ok`, or the code of their error, or `canceled`.",
    (*_JSONRPC, "jsonrpc_code"),
)
JSONRPC_RECEIVED: Final = Counter("jsonrpc_server_msg_received_total", "Requests of JSON-RPC that have come.", _JSONRPC)
JSONRPC_SENT: Final = Counter(
    "jsonrpc_server_msg_sent_total", "Responses of JSON-RPC, and events of streams, that have been sent.", _JSONRPC
)
JSONRPC_SECONDS: Final = Histogram(
    "jsonrpc_server_handling_seconds", "How long calls of JSON-RPC have taken, streams included.", SECONDS, _JSONRPC
)
HTTP_REQUESTS: Final = Counter(
    "runs_gateway_http_requests_total",
    "Requests over HTTP, by path and status; 499 is one whose client left before it was answered.",
    ("path", "status"),
)
OPEN_STREAMS: Final = Gauge("runs_gateway_open_streams", "Streams of clients that are open.", ("method",))


class CodeCells(dict[str, Cell]):
    """The cells of calls that have ended, by their code, which are made when they are needed."""

    def __init__(self, make: Callable[[str], Cell]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, code: str) -> Cell:
        cell = self[code] = self._make(code)
        return cell


class CallCells:
    """The cells of one method. Those that nobody has registered count for nobody."""

    __slots__ = ("handled", "open", "received", "seconds", "sent", "started")

    def __init__(self) -> None:
        self.started = Cell()
        self.received = Cell()
        self.sent = Cell()
        self.seconds = Distribution(SECONDS)
        self.handled = CodeCells(lambda _: Cell())
        self.open: Cell | None = None
        """How many streams are open; None of a method that does not stream."""


def grpc_cells(kind: str, service: str, method: str) -> CallCells:
    """The cells of a method of gRPC. Codes are names like `NOT_FOUND`."""
    labels = kind, service, method
    cells = CallCells()
    cells.started = GRPC_STARTED.labels(*labels)
    cells.received = GRPC_RECEIVED.labels(*labels)
    cells.sent = GRPC_SENT.labels(*labels)
    cells.seconds = GRPC_SECONDS.labels(*labels)
    cells.handled = CodeCells(lambda code: GRPC_HANDLED.labels(*labels, _GRPC_NAMES[code]))
    if kind != "unary":
        cells.open = OPEN_STREAMS.labels(f"{service}/{method}")
    return cells


def jsonrpc_cells(method: str, origin: CallOrigin, *, streams: bool = False) -> CallCells:
    """The cells of a method of JSON-RPC. Codes are "", which is none, numbers as text, and CANCELLED."""
    labels = method, origin
    cells = CallCells()
    cells.started = JSONRPC_STARTED.labels(*labels)
    cells.received = JSONRPC_RECEIVED.labels(*labels)
    cells.sent = JSONRPC_SENT.labels(*labels)
    cells.seconds = JSONRPC_SECONDS.labels(*labels)
    cells.handled = CodeCells(lambda code: JSONRPC_HANDLED.labels(*labels, _jsonrpc_code(code)))
    if streams:
        cells.open = OPEN_STREAMS.labels(method)
    return cells


def _jsonrpc_code(code: str) -> str:
    if code in ("", CANCELLED):
        return code or OK
    return code if int(code) in _RESERVED else OTHER
