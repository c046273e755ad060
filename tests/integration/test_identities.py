"""A gateway with identities, as its operators change them while it serves."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.support.command_line import CommandLine
from tests.support.identities import bearer, token_entry, token_of, write_tokens

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
