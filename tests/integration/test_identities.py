"""A gateway with identities, as its operators change them while it serves."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.certificates import Certificates
from tests.support.command_line import CommandLine
from tests.support.identities import (
    AUDIENCE,
    ISSUER,
    Issuer,
    bearer,
    key_set,
    token_entry,
    token_of,
    write_tokens,
)

LIST = b'{"jsonrpc":"2.0","id":1,"method":"runs/list","params":{}}'


async def status_of(url: str, token: str) -> int:
    """The answer to a list, over a connection of its own, which any worker may take."""
    headers = {"Content-Type": "application/json", "Authorization": bearer(token)}
    async with aiohttp.ClientSession() as session, session.post(url, data=LIST, headers=headers) as response:
        return response.status


@pytest.mark.parametrize("mode", [[], ["--workers", "2"]], ids=["one process", "workers"])
async def test_a_token_is_replaced_while_the_gateway_serves(tmp_path: Path, mode: list[str]) -> None:
    file = write_tokens(tmp_path / "tokens.toml", token_entry("old"))
    arguments = ("--state", ":memory:", "--tokens", str(file), *mode)
    async with CommandLine(tmp_path).serving(*arguments, env={"TMPDIR": str(tmp_path)}) as serving:
        assert await status_of(serving.http, token_of("old")) == 200
        assert await status_of(serving.http, token_of("new")) == 401
        write_tokens(file, "[[tokens]]", "broken")
        write_tokens(tmp_path / "next.toml", token_entry("new")).replace(file)
        async with asyncio.timeout(60):
            # Each process has its own look, and either may take a connection.
            seen = 0
            while seen < 20:
                codes = [await status_of(serving.http, token_of(name)) for name in ("new", "old")]
                seen = seen + 1 if codes == [200, 401] else 0


@pytest.mark.parametrize("mode", [[], ["--workers", "2"]], ids=["one process", "workers"])
async def test_a_file_that_cannot_be_used_keeps_a_gateway_from_starting(tmp_path: Path, mode: list[str]) -> None:
    secret = "rgw_" + "s" * 43
    entry = token_entry("a").replace(token_entry("a").split('"')[3], secret)
    file = write_tokens(tmp_path / "tokens.toml", entry)
    ports = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--state", ":memory:")
    finished = await CommandLine(tmp_path).run("serve", *ports, "--tokens", str(file), *mode)
    assert finished.code == 1
    words = "token 1 ('a'): sha256: expected the 64 hex digits of a SHA-256 (--tokens)"
    assert finished.err.splitlines()[-1] == f"error: {file}: {words}"
    assert secret not in finished.err + finished.out


@asynccontextmanager
async def key_server(authority: Certificates, issuer: Issuer) -> AsyncIterator[str]:
    """Serve the keys of an issuer over TLS, and give their URL."""

    async def keys(_: web.Request) -> web.Response:
        return web.Response(text=key_set(issuer))

    application = web.Application()
    application.router.add_get("/keys", keys)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server())
    server = TestServer(application, scheme="https")
    await server.start_server(ssl=context)
    try:
        yield f"https://localhost:{server.port}/keys"
    finally:
        await server.close()


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_keys_of_an_issuer_come_over_tls_that_is_verified(tmp_path: Path, trusted: bool) -> None:
    authority, other = Certificates(tmp_path), Certificates(tmp_path, "other")
    issuer = Issuer()
    async with key_server(authority, issuer) as url:
        given = ("--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, "--jwt-keys", url)
        environment = {"TMPDIR": str(tmp_path), "SSL_CERT_FILE": authority.ca if trusted else other.ca}
        async with CommandLine(tmp_path).serving("--state", ":memory:", *given, env=environment) as serving:
            assert await status_of(serving.http, issuer.token()) == (200 if trusted else 401)


@pytest.mark.parametrize("mode", [[], ["--workers", "2"]], ids=["one process", "workers"])
async def test_a_token_for_a_short_time_is_accepted_by_gateways_with_the_key(tmp_path: Path, mode: list[str]) -> None:
    key, other = tmp_path / "signing.key", tmp_path / "other.key"
    key.write_text("k" * 64, encoding="utf-8")
    other.write_text("o" * 64, encoding="utf-8")
    tokens = write_tokens(tmp_path / "tokens.toml", token_entry("team", ["runs:read"], ["team"]))
    common = ("--state", ":memory:", *mode)
    environment = {"TMPDIR": str(tmp_path)}
    commands = CommandLine(tmp_path)
    async with (
        commands.serving(*common, "--tokens", str(tokens), "--signing-key", str(key), env=environment) as maker,
        commands.serving(*common, "--signing-key", str(key), env=environment) as same,
        commands.serving(*common, "--signing-key", str(other), env=environment) as stranger,
    ):
        body = {"jsonrpc": "2.0", "id": 1, "method": "runs/token", "params": {"permissions": ["runs:read"]}}
        headers = {"Content-Type": "application/json", "Authorization": bearer(token_of("team"))}
        async with (
            aiohttp.ClientSession() as session,
            session.post(maker.http, data=json.dumps(body), headers=headers) as response,
        ):
            token = (await response.json())["result"]["token"]
        assert [await status_of(gateway.http, token) for gateway in (maker, same, stranger)] == [200, 200, 401]
        (tmp_path / "token").write_text(token_of("team"), encoding="utf-8")
        shown = ("--address", maker.grpc, "--token-file", str(tmp_path / "token"))
        granted = await commands.output("token", "grant", *shown, "--permission", "runs:read")
        assert [await status_of(gateway.http, granted) for gateway in (maker, same, stranger)] == [200, 200, 401]
        refused = await commands.run("token", "grant", *shown, "--permission", "runs:cancel")
        assert refused.err.startswith("error: the permission runs:cancel is missing")
        signed = await commands.output("token", "grant", "--signing-key", str(key), "--identity", "ops")
        assert [await status_of(gateway.http, signed) for gateway in (maker, same, stranger)] == [200, 200, 401]
