"""What a caller presents: what fronts find in the metadata of a call, in the head of a request, and in a connection."""

from typing import NamedTuple


class PeerCertificate(NamedTuple):
    """The names in the certificate of a client, which TLS has verified: URIs, DNS names and the common name."""

    uris: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    common_name: str | None = None


class Presented(NamedTuple):
    """The values of `authorization` and `runs-namespace`, and the certificate of the connection, if there are any.

    `owner` is that of `runs-owner-bin`, an `Owner` in MessagePack, by which a worker tells the runtime of its gateway
    to whom a run will belong. Nothing but `WorkerAccess` looks at it.
    """

    authorization: str | None = None
    namespace: str | None = None
    certificate: PeerCertificate | None = None
    owner: bytes | None = None

    def __repr__(self) -> str:
        """The text without the credentials, for logs and traces."""
        shown = None if self.authorization is None else "..."
        return f"Presented(authorization={shown}, namespace={self.namespace!r}, certificate={self.certificate!r})"
