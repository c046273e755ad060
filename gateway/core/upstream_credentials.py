"""What the gateway shows to another server, and what it trusts of it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from gateway.core.client_tls import ClientTls
from gateway.core.token_file import TokenFile

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class UpstreamCredentials(NamedTuple):
    """TLS as a client, for addresses that are reached over it, and the token that is sent, if there is one."""

    tls: ClientTls = ClientTls()
    token: TokenFile | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of a request over HTTP that carry the token."""
        return _NO_HEADERS if self.token is None else {"Authorization": self.token.authorization}


NO_CREDENTIALS: Final = UpstreamCredentials()
"""Those of servers that ask for none, and that the authorities of the system have signed."""
