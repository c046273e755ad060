"""What is tried at a port that speaks TLS, with the standard library: versions, suites, and certificates of clients."""

import asyncio
import ssl
import warnings
from typing import Final

from gateway.core.client_tls import ClientTls
from tests.support.certificates import Certificates

WEAK_SUITES: Final = (
    "AES128-SHA",
    "AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
    "DHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-CCM8",
    "NULL-SHA",
    "ECDHE-ECDSA-NULL-SHA",
    "AECDH-AES128-SHA",
    "PSK-AES128-GCM-SHA256",
)
"""Suites without forward secrecy, authenticated encryption, or any encryption at all."""


class RefusedByServer(Exception):
    """The server has refused the handshake."""


async def shake_hands(address: str, context: ssl.SSLContext) -> ssl.SSLObject:
    """Connect, and read until the server has said something or closed. Raises RefusedByServer if it does not like it.

    By TLS 1.3 a client learns only from its first read that its certificate is refused.
    """
    host, _, port = address.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost")
    except (ssl.SSLError, ConnectionError) as error:
        raise RefusedByServer(str(error)) from None
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    try:
        # Both fronts answer this: HTTP/1.1 with a refusal, HTTP/2 with its settings or the end.
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if not await reader.read(1):
            raise RefusedByServer("the connection was closed")
    except (ssl.SSLError, ConnectionError) as error:
        raise RefusedByServer(str(error)) from None
    finally:
        writer.transport.abort()
    return tls


async def weaknesses(address: str, tls: ClientTls, alpn: str) -> list[str]:
    """The old versions and weak suites that a port takes."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # They are what is tried.
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            context = _context(tls, alpn, "ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
            if await _takes(address, context):
                found.append(version.name)
    for suite in WEAK_SUITES:
        try:
            context = _context(tls, alpn, f"{suite}:@SECLEVEL=0")
        except ssl.SSLError:
            continue  # This machine's library has not got it.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if await _takes(address, context):
            found.append(suite)
    return found


async def refused_certificates(address: str, authority: Certificates, other: Certificates, alpn: str) -> list[str]:
    """Which bad certificates a port refuses that asks for those of `authority`."""
    bad = {
        "none": None,
        "of another authority": other.client(),
        "expired": authority.expired(),
        "without client usage": authority.without_client_usage(),
    }
    refused = []
    for name, files in bad.items():
        tls = ClientTls(authority.ca) if files is None else ClientTls(authority.ca, *files)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = _context(tls, alpn)
            context.minimum_version = context.maximum_version = version
            if not await _takes(address, context):
                refused.append(f"{name} by {version.name}")
    return refused


ALL_REFUSED: Final = [
    f"{name} by {version}"
    for name in ("none", "of another authority", "expired", "without client usage")
    for version in ("TLSv1_2", "TLSv1_3")
]


async def strengths(address: str, tls: ClientTls, alpn: str) -> list[tuple[str | None, str | None]]:
    """The version and the protocol that a port takes from clients that offer TLS 1.2 and 1.3 alone."""
    found = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = _context(tls, alpn)
        context.minimum_version = context.maximum_version = version
        shaken = await shake_hands(address, context)
        found.append((shaken.version(), shaken.selected_alpn_protocol()))
    return found


def _context(tls: ClientTls, alpn: str, suites: str | None = None) -> ssl.SSLContext:
    context = tls.context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED if suites else ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([alpn])
    if suites:
        context.set_ciphers(suites)
    return context


async def _takes(address: str, context: ssl.SSLContext) -> bool:
    try:
        await shake_hands(address, context)
    except RefusedByServer:
        return False
    return True
