"""A port of the HTTP front that speaks TLS."""

import asyncio
from collections.abc import Callable

from gateway.core.server_tls import ServerTls
from gateway.fronts.http.gate import ConnectionGate
from gateway.fronts.http.handshakes import Handshakes
from gateway.fronts.http.tls_transport import TlsTransport


class TlsPort:
    """Makes connections over TLS. A handshake may take `seconds`; `gate` counts the connection from its start on."""

    def __init__(
        self, tls: ServerTls, make_connection: Callable[[], asyncio.Protocol], gate: ConnectionGate, seconds: float
    ) -> None:
        self._tls = tls
        self._make_connection = make_connection
        self._gate = gate
        self._seconds = seconds
        self._handshakes = Handshakes()

    def accept(self) -> TlsTransport:
        """What serves a client that has connected, with the certificate of this moment."""
        return TlsTransport(
            self._tls.context, self._make_connection, self._gate, self._handshakes, seconds=self._seconds
        )

    def close(self) -> None:
        """End the connections whose handshake has not ended."""
        for transport in tuple(self._handshakes.open):
            transport.abort()
