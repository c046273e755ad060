"""TLS of the gRPC server on grpcio."""

from typing import Any

import grpc

from gateway.core.server_tls import ServerPem, ServerTls


class _Certificates:
    """Gives grpcio the certificate of the moment, when a client connects: in a thread of grpc, so it reads no files."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._given = tls.generation
        self.first = _configuration(tls.pem)

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """The certificate, if it is another one than before."""
        generation = self._tls.generation
        if generation == self._given:
            return None
        self._given = generation
        return _configuration(self._tls.pem)


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """What a port shows to new connections, and asks of them.

    grpcio, as of 1.85, either requires certificates of clients or asks for none: Python has no name for its other
    modes. Its versions of TLS and suites are strong by default.
    """
    certificates: Any = _Certificates(tls)  # None says that nothing has changed, which grpc's types leave out.
    return grpc.dynamic_ssl_server_credentials(
        certificates.first, certificates, require_client_authentication=tls.asks_for_certificates
    )


def _configuration(pem: ServerPem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], root_certificates=pem.client_ca)
