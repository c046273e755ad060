"""Capabilities: what component servers are told instead of credentials, as a part of the URL of the blob API.

SDKs send no header there. A capability names one life of one server, and is good for the blobs of the namespaces in
which this server executes something at the moment. It is not kept: what makes it valid is a key of this gateway, which
lives as long as its process.
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from gateway.access.access import Access
from gateway.access.presented import Presented
from gateway.access.refusals import unauthenticated
from gateway.core.caller import SERVER_NAMESPACE, Caller, CallerView
from gateway.core.owner import Permission

MAX_CAPABILITY: Final = 1_000
"""The longest capability that is looked at, in characters."""

_BLOBS: Final = frozenset({Permission.READ_BLOBS, Permission.WRITE_BLOBS})
_MAC_BYTES: Final = 16


class Capabilities:
    """Issues capabilities, and tells whose they are. All processes of a gateway have the same key."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def new_key(cls) -> bytes:
        """A key that nobody else has."""
        return secrets.token_bytes(32)

    def issue(self, server: str) -> str:
        """The capability of a server, which has this name for one life of it."""
        return f"{_encoded(server.encode())}.{self._mac(server)}"

    def caller(self, capability: str) -> Caller:
        """The caller that presents a capability. Raises Unauthenticated if it is not one of this gateway."""
        name, _, mac = capability.partition(".")
        try:
            server = urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
        except ValueError:
            server = ""
        if len(capability) > MAX_CAPABILITY or not hmac.compare_digest(self._mac(server).encode(), mac.encode()):
            raise unauthenticated("capability")
        return Caller(f"{SERVER_NAMESPACE}{server}", CallerView(f"{SERVER_NAMESPACE}{server}"), _BLOBS)

    def _mac(self, server: str) -> str:
        return _encoded(hmac.digest(self._key, server.encode(), "sha256")[:_MAC_BYTES])


class ServersAccess(Access):
    """The access of a process that serves component servers alone: everybody else is refused."""

    def known(self, presented: Presented) -> Caller:
        """Raises Unauthenticated."""
        raise unauthenticated("capability")

    async def identify(self, presented: Presented) -> Caller:
        """Raises Unauthenticated."""
        raise unauthenticated("capability")

    async def close(self) -> None:
        """Nothing is looked after."""


def _encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
