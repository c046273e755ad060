"""What a connection over TLS takes while it waits for a request: clients may keep thousands."""

import asyncio
import gc
import sys
from pathlib import Path

import pytest

from gateway.core.server_tls import ClientAuth, ServerTls, ServerTlsFiles
from gateway.server.app import CONNECTION_BYTES, TLS_BYTES
from tests.support.certificates import Certificates
from tests.support.http_front import running_front

CONNECTIONS = 100

CLIENT = """
import socket, ssl, sys
port, number, ca, cert, key = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
open_ones = []
for _ in range(number):
    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
    connection.sendall(b"GET /health HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    connection.recv(1 << 16)
    open_ones.append(connection)
print("ready", flush=True)
sys.stdin.readline()
"""


def resident() -> int:
    """The memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


@pytest.mark.parametrize("auth", [ClientAuth.NONE, ClientAuth.REQUIRED])
async def test_an_idle_connection_takes_what_is_counted_for_it(tmp_path: Path, auth: ClientAuth) -> None:
    authority = Certificates(tmp_path)
    tls = ServerTls(ServerTlsFiles(*authority.server(), authority.ca, auth))
    async with running_front(tls=tls) as front:
        port = front.front.address.rpartition(":")[2]

        async def connected(number: int) -> asyncio.subprocess.Process:
            arguments = (port, str(number), authority.ca, *authority.client())
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CLIENT, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            return process

        first = await connected(10)  # What all connections share is there by then.
        gc.collect()
        before = resident()
        more = await connected(CONNECTIONS)
        gc.collect()
        assert (resident() - before) / CONNECTIONS < CONNECTION_BYTES + TLS_BYTES
        for process in (first, more):
            await process.communicate(b"\n")
