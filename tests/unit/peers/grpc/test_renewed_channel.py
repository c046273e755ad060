"""Channels that follow the files of their client."""

import logging
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from gateway.core.client_tls import ClientTls
from gateway.peers.grpc.client_tls import open_channel
from gateway.peers.grpc.renewed_channel import RenewedChannel
from tests.support.certificates import Certificates, MountedSecret, overwrite

METHOD = "/tests.Service/Method"


class Serials(grpc.GenericRpcHandler):
    """Answers with the certificate of the client."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request: bytes, context: Any) -> bytes:
        shown: bytes = context.auth_context()["x509_pem_cert"][0]
        return shown


async def test_stubs_stay_good_when_a_channel_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Certificates(tmp_path)
    served = ClientTls(authority.ca, *authority.server()).pem()
    assert served.key is not None
    assert served.chain is not None
    server = aio.server(handlers=[Serials()])
    credentials = grpc.ssl_server_credentials([(served.key, served.chain)], served.roots, True)
    address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    secret = MountedSecret(tmp_path / "mounted", authority.client("first"))
    tls = ClientTls(authority.ca, *secret.files)
    channel = RenewedChannel(
        lambda: open_channel(address, (("grpc.use_local_subchannel_pool", 1),), tls=tls), tls.paths
    )
    method = channel.unary_unary(METHOD)
    first = await method(b"", timeout=20)
    assert not channel.renew()
    secret.swap(authority.client("second"))
    assert channel.renew()
    second = await method(b"", timeout=20)
    assert first != second
    with caplog.at_level(logging.ERROR):
        overwrite(secret.files.key, authority.client("third").key)
        assert not channel.renew()
        assert not channel.renew()
    assert len(caplog.records) == 1
    assert await method(b"", timeout=20) == second
    await channel.close()
    await server.stop(None)
