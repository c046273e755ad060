"""How a client shows itself to a gateway, and knows that it is the right one."""

import os
import re
from typing import Any, Final, TypedDict, TypeVar, cast

import grpc
from grpc import aio

from gateway.core.addresses import check_address, is_local
from gateway.core.client_tls import ClientTls
from gateway.core.errors import shortened
from gateway.core.owner import NAMESPACE_KEY, NAMESPACE_RULE, is_namespace
from gateway.core.token_file import TokenFile
from gateway.peers.grpc.authorized_channel import AuthorizedChannel
from gateway.peers.grpc.client_tls import channel_credentials
from gateway.telemetry import tracing

TLS_SCHEME: Final = "grpcs://"
"""What an address begins with that is reached over TLS."""

PLAIN_SCHEME: Final = "grpc://"

_NAME_OF_GRPC: Final = re.compile("(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):")
"""What a target of grpc begins with that is not HOST:PORT."""


C = TypeVar("C")


class ExposedToken(ValueError):
    """A token would be sent where others can read it."""


class SecurityOptions(TypedDict, total=False):
    """What a client may be given beside its target. Files are named by their paths, and are in PEM but for the token.

    `ca`: the authorities that are trusted, in place of those of the system. `cert` and `key`: the certificate of the
    client, for mutual TLS. Any of them, `tls=True`, and a target `grpcs://HOST:PORT` turn TLS on; `credentials` of grpc
    do the same. `token_file` names a file with a token, which is read anew when it changes; `token` is one itself. A
    token goes over TLS, or within this machine, unless `insecure` says otherwise. `namespace`: that of all calls.
    """

    tls: bool
    ca: str | os.PathLike[str] | None
    cert: str | os.PathLike[str] | None
    key: str | os.PathLike[str] | None
    token: str | None
    token_file: str | os.PathLike[str] | None
    namespace: str | None
    insecure: bool


class Security:
    """The options, checked. `metadata` is what each call has with it; a repr has no secret."""

    def __init__(
        self, target: str | object, credentials: grpc.ChannelCredentials | None, options: SecurityOptions
    ) -> None:
        """Raises ValueError if the target or the namespace cannot be one, or the options contradict each other, and
        TlsFileError or TokenFileError if a file is of no use.
        """
        ca, cert, key = map(_path, (options.get("ca"), options.get("cert"), options.get("key")))
        secured = isinstance(target, str) and target.startswith(TLS_SCHEME)
        self.target = target.removeprefix(TLS_SCHEME).removeprefix(PLAIN_SCHEME) if isinstance(target, str) else target
        if isinstance(self.target, str):
            _check(self.target)
        self.credentials = credentials
        if key is not None and cert is None:
            raise ValueError("a key comes with its certificate: give cert as well")
        if self.credentials is None and (secured or options.get("tls") or ca is not None or cert is not None):
            self.credentials = channel_credentials(ClientTls(ca, cert, key))
        self._namespace = _namespace(options)
        self._token = _token(options)
        if self._token is not None and not options.get("insecure") and self._is_exposed():
            raise ExposedToken(
                "a token is sent over TLS only, or within this machine: give tls or ca, or say that it may be insecure"
            )

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call carries that begins now, with the trace that it is part of."""
        carried = tuple((name.lower(), value) for name, value in tracing.injected().items())
        namespace = () if self._namespace is None else ((NAMESPACE_KEY, self._namespace),)
        authorization = () if self._token is None else (("authorization", self._token.authorization),)
        return (*authorization, *namespace, *carried)

    @property
    def address(self) -> str:
        """The target in words."""
        return self.target if isinstance(self.target, str) else "the other end of the channel"

    def around(self, channel: C) -> C:
        """A channel whose calls carry the metadata."""
        return cast("C", AuthorizedChannel(channel, self))

    def _is_exposed(self) -> bool:
        return self.credentials is None and isinstance(self.target, str) and not is_local(self.target)

    def __repr__(self) -> str:
        return f"Security({self.target!r})"


class _GivenToken:
    def __init__(self, token: str) -> None:
        if not token or any(not "!" <= character <= "~" for character in token):
            raise ValueError("a token is one word of printable ASCII characters")
        self.authorization = f"Bearer {token}"

    def __repr__(self) -> str:
        return "<a token>"


def open_aio(security: Security, options: Any) -> aio.Channel:
    """A channel for asyncio."""
    target = str(security.target)
    if security.credentials is None:
        return aio.insecure_channel(target, options)
    return aio.secure_channel(target, security.credentials, options)


def open_blocking(security: Security, options: Any) -> grpc.Channel:
    """A channel for threads."""
    target = str(security.target)
    if security.credentials is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, security.credentials, options)


def _check(target: str) -> None:
    """Raises ValueError for what can never be an address: later, it would seem to be a gateway that is away."""
    if not _NAME_OF_GRPC.match(target):
        # grpc has a port of its own for a host without any.
        check_address(target if ":" in target.rpartition("]")[2] or not target else f"{target}:443")


def _token(options: SecurityOptions) -> TokenFile | _GivenToken | None:
    token, file = options.get("token"), _path(options.get("token_file"))
    if token is not None and file is not None:
        raise ValueError("give either a token, or the file with one")
    if file is not None:
        return TokenFile(file)
    return None if token is None else _GivenToken(token)


def _namespace(options: SecurityOptions) -> str | None:
    namespace = options.get("namespace")
    if namespace is not None and not is_namespace(namespace):
        raise ValueError(f"namespace: expected {NAMESPACE_RULE}, got {shortened(namespace)!r}")
    return namespace


def _path(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)
