"""TLS below an HTTP connection.

It is a layer of its own, since those of event loops hide what HTTP connections have to know here: how much waits to be
sent, how a client that has closed its side still gets its answer, and how many connections have not ended their
handshake. Such layers also hold 256 KiB for each connection.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

from gateway.core.errors import Overloaded
from gateway.fronts.http.gate import ConnectionGate
from gateway.fronts.http.handshakes import Handshakes

MAX_UNASKED: Final = 64 << 10
"""How many bytes TLS itself may have to send to a client that reads nothing: answers to updates of keys."""

_RECORD: Final = 16 << 10
"""The most that one record holds."""

_HANDSHAKE: Final = 0x16
"""The first byte of a connection that speaks TLS."""

_PLAIN_REFUSAL: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 27\r\nConnection: close\r\n\r\n"
    b"this port speaks HTTPS only"
)


class TlsTransport(asyncio.Protocol, asyncio.Transport):
    """The transport of a connection whose bytes are encrypted, and the protocol of the transport that sends them.

    `make_connection` makes the connection when the handshake has succeeded, which may take `seconds`. Until then, the
    gate counts it here.
    """

    __slots__ = (
        "_app",
        "_closing",
        "_context",
        "_gate",
        "_handshakes",
        "_incoming",
        "_make",
        "_outgoing",
        "_raw",
        "_seconds",
        "_timer",
        "_tls",
        "_turns",
        "_unasked",
    )  # fmt: skip

    def __init__(
        self,
        context: ssl.SSLContext,
        make_connection: Callable[[], asyncio.Protocol],
        gate: ConnectionGate,
        handshakes: Handshakes,
        seconds: float,
    ) -> None:
        super().__init__()
        self._context: ssl.SSLContext | None = context
        self._make: Callable[[], asyncio.Protocol] | None = make_connection
        self._gate: ConnectionGate | None = gate
        self._handshakes = handshakes
        self._seconds = seconds
        self._raw: asyncio.Transport | None = None
        self._app: asyncio.Protocol | None = None
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._timer: asyncio.TimerHandle | None = None
        self._turns = False
        """Whether a step of the handshake waits for its turn."""
        self._closing = False
        self._unasked = 0
        """How many bytes of TLS itself have been sent since the client last read everything."""

    # The side of the network.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected. One too many is cut: it could read a refusal only after a handshake."""
        raw = self._raw = cast(asyncio.Transport, transport)
        raw.set_write_buffer_limits(0)
        gate = self._gate
        assert gate is not None
        try:
            gate.enter()
        except Overloaded:
            self._gate = None
            self.abort()
            return
        self._handshakes.open.add(self)
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._fail, "it takes too long")

    def data_received(self, data: bytes) -> None:
        """Encrypted bytes have come."""
        if self._tls is None and not self._begin(data):
            return
        self._incoming.write(data)
        if self._app is not None:
            self._read()
        elif not self._turns:
            self._turns = True
            self._handshakes.add(self._shake_hands)

    def eof_received(self) -> bool:
        """The client has closed its side of the connection below. Return whether answers may still be sent."""
        if self._app is None:
            self._fail("the client has left")
            return False
        return not self._closing and bool(self._app.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing can be sent any more."""
        self._closing = True
        self._forget_handshake()
        app, self._app, self._tls, self._raw = self._app, None, None, None
        if app is not None:
            app.connection_lost(exc)

    def pause_writing(self) -> None:
        """What was written waits."""
        if self._app is not None:
            self._app.pause_writing()

    def resume_writing(self) -> None:
        """All that was written has been sent."""
        self._unasked = 0
        if self._app is not None:
            self._app.resume_writing()

    # The side of the connection.

    def write(self, data: Any) -> None:
        """Encrypt and send."""
        tls, raw = self._tls, self._raw
        if self._closing or tls is None or raw is None:
            return
        sent = tls.write(data)
        if sent < len(data):
            rest = memoryview(data)[sent:]
            while rest:
                rest = rest[tls.write(rest) :]
        raw.write(self._outgoing.read())

    def close(self) -> None:
        """Say the end, and close when everything has been sent."""
        if self._closing:
            return
        self._closing = True
        if self._tls is not None and self._app is not None:
            with suppress(ssl.SSLError):  # It waits for the end of the client's side, which is not waited for.
                self._tls.unwrap()
        self._flush()
        if self._raw is not None:
            self._raw.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        if self._raw is not None:
            self._raw.abort()

    def is_closing(self) -> bool:
        return self._closing or self._raw is None or self._raw.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As that of the transport below, and `ssl_object`."""
        if name == "ssl_object":
            return self._tls
        return default if self._raw is None else self._raw.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """How many encrypted bytes wait to be sent."""
        return 0 if self._raw is None else self._raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._raw is not None:
            self._raw.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        if self._raw is not None:
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        if self._raw is not None:
            self._raw.resume_reading()

    def is_reading(self) -> bool:
        return self._raw is not None and self._raw.is_reading()

    # TLS.

    def _begin(self, data: bytes) -> bool:
        """Make what TLS needs, when the client has sent something: that takes memory."""
        if self._closing or self._raw is None or self._context is None:
            return False
        if data[0] != _HANDSHAKE:
            if data[:1].isalpha():
                self._raw.write(_PLAIN_REFUSAL)
            self._fail("it does not speak TLS")
            return False
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._context = None
        return True

    def _shake_hands(self) -> None:
        self._turns = False
        tls, make = self._tls, self._make
        if self._closing or tls is None or make is None:
            return
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._fail(_reason(error))
            return
        self._flush()
        self._forget_handshake()
        self._app = make()
        self._app.connection_made(self)
        if self._incoming.pending:
            self._read()

    def _read(self) -> None:
        """Pass on what can be decrypted."""
        tls, app = self._tls, self._app
        if self._closing or tls is None or app is None:
            return
        parts, ended = [], False
        try:
            while not ended and (self._incoming.pending or tls.pending()):
                part = tls.read(_RECORD)
                ended = not part
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._flush()  # TLS says what is wrong.
            self.abort()
            return
        if self._outgoing.pending and not self._answer_unasked():
            return
        if data := parts[0] if len(parts) == 1 else b"".join(parts):
            app.data_received(data)
        if ended and not (self.is_closing() or app.eof_received()):
            self.close()

    def _answer_unasked(self) -> bool:
        """Send what TLS itself has to say. Return False if the client asks for too much of it, and reads nothing."""
        if self.get_write_buffer_size():
            self._unasked += self._outgoing.pending
            if self._unasked > MAX_UNASKED:
                self.abort()
                return False
        self._flush()
        return True

    def _flush(self) -> None:
        if self._raw is not None and self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    def _fail(self, reason: str) -> None:
        """End a connection whose handshake has failed."""
        if self._closing:
            return
        self._handshakes.note_failure(self.get_extra_info("peername"), reason)
        self.close()

    def _forget_handshake(self) -> None:
        """The handshake has ended, in whatever way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._handshakes.open.discard(self)
        if self._gate is not None:
            self._gate.leave()
        self._gate = self._make = self._context = None


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the client: {error.verify_message}"
    return (error.reason or "it is malformed").replace("_", " ").lower()
