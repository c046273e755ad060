"""Calls of each protocol that a gateway serves, at one address: that of a proxy that tells them by content types."""

import asyncio
import base64
import ssl
from pathlib import Path
from typing import Final

from aiohttp import ClientSession

from tests.support.programs import program

PATH: Final = "/runs.v1.RunsService/ListRuns"
FRAME: Final = bytes(5)
"""An empty message, as gRPC and gRPC-Web frame it."""
GRPC: Final = ("application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8")
GRPC_WEB: Final = tuple(f"application/grpc-web{ending}" for ending in ("", "+proto", "-text", "-text+proto"))
CONNECT: Final = {"application/json": b"{}", "application/proto": b""}
JSON_RPC: Final = b'{"jsonrpc":"2.0","id":1,"method":"runs/list","params":{}}'


async def call_http(url: str, context: ssl.SSLContext | None = None) -> None:
    """List runs in each protocol of HTTP/1.1, and check that each answers in its own way.

    `url` has no slash at its end. `context` says whom to trust with TLS.
    """
    async with ClientSession() as http:
        for kind in GRPC_WEB:
            body = await _post(
                http, f"{url}{PATH}", kind, base64.b64encode(FRAME) if "text" in kind else FRAME, context
            )
            # The answer and its trailers are base64 each.
            text = b"".join(map(base64.b64decode, body.replace(b"=", b"= ").split())) if "text" in kind else body
            assert b"grpc-status:0" in text.replace(b" ", b""), (kind, body)
        for kind, message in CONNECT.items():
            await _post(http, f"{url}{PATH}", kind, message, context)
        assert b'"result"' in await _post(http, f"{url}/", "application/json", JSON_RPC, context)


async def call_grpc(url: str, certificate: Path | None = None) -> None:
    """List runs by gRPC, with each form of its content type. `certificate` is whom to trust with TLS."""
    for kind in GRPC:
        assert await _grpc(f"{url}{PATH}", kind, certificate) == b"200 application/grpc", kind


async def _post(http: ClientSession, url: str, kind: str, body: bytes, context: ssl.SSLContext | None) -> bytes:
    """The body of the answer, which has the type of the request, or names its form more exactly."""
    headers = {"Content-Type": kind}
    async with http.post(url, data=body, headers=headers, ssl=context or True) as answer:
        found = await answer.read()
        assert answer.status == 200, (kind, found)
        assert answer.headers["Content-Type"].startswith(kind)
        return found


async def _grpc(url: str, kind: str, certificate: Path | None) -> bytes:
    """The status and the type of the answer over HTTP/2, to a client that can say any content type."""
    trust = ("--http2-prior-knowledge",) if certificate is None else ("--http2", "--cacert", str(certificate))
    told = ("--output", "/dev/null", "--write-out", "%{http_code} %{content_type}")
    headers = ("--header", f"content-type: {kind}", "--header", "te: trailers")
    process = await asyncio.create_subprocess_exec(
        *(program("curl", "curl"), "--silent", *trust, *told, *headers, "--data-binary", "@-", url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    return (await process.communicate(FRAME))[0]
