"""Channels of gRPC over TLS, and with a token."""

from collections.abc import Sequence
from typing import Any, cast

import grpc
from grpc import aio

from gateway.core.client_tls import ClientTls
from gateway.core.token_file import TokenFile
from gateway.peers.grpc.authorized_channel import AuthorizedChannel

ChannelOptions = Sequence[tuple[str, Any]]


def channel_credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    """What a channel verifies, and shows. Raises TlsFileError if a file cannot be used.

    Without authorities of its own, those that grpcio brings are trusted, or those that the variable
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names.
    """
    roots, key, chain = tls.pem()
    return grpc.ssl_channel_credentials(roots, key, chain)


def open_channel(
    address: str, options: ChannelOptions, *, tls: ClientTls | None = None, token: TokenFile | None = None
) -> aio.Channel:
    """A channel to `HOST:PORT` or `unix:PATH`: over TLS if there is `tls`, and with a `token` in each call.

    Raises TlsFileError if a file cannot be used.
    """
    if tls is None:
        channel = aio.insecure_channel(address, options=options)
    else:
        channel = aio.secure_channel(address, channel_credentials(tls), options=options)
    return channel if token is None else cast("aio.Channel", AuthorizedChannel(channel, token))


def open_blocking_channel(
    address: str, options: ChannelOptions, *, tls: ClientTls | None = None, token: TokenFile | None = None
) -> grpc.Channel:
    """The same for threads."""
    if tls is None:
        channel = grpc.insecure_channel(address, options=options)
    else:
        channel = grpc.secure_channel(address, channel_credentials(tls), options=options)
    return channel if token is None else cast("grpc.Channel", AuthorizedChannel(channel, token))
