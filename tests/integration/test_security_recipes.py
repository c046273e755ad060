"""The recipes of the page on security, as they are printed."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.certificates import Certificates
from tests.support.identities import Issuer, key_set
from tests.support.session import coverage_settings

PAGE: Final = (Path(__file__).parents[2] / "docs/security.md").read_text(encoding="utf-8")
RECIPES: Final = {
    title: re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for title, text in re.findall(r"\n### ([^\n]+)\n(.*?)(?=\n##|\Z)", PAGE[PAGE.index("\n## Recipes") :], re.DOTALL)
}
SERVES: Final = "runs-gateway serve "


async def shell(command: str, home: Path, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "/bin/sh", "-euc", command, cwd=home, env=environment, stdout=asyncio.subprocess.PIPE
    )


@asynccontextmanager
async def serving(command: str, home: Path, environment: Mapping[str, str]) -> AsyncIterator[str]:
    """Serve as the recipe says, and give the address of the gRPC front."""
    process = await shell(f"exec {command.strip()} --json", home, environment)
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        assert line, "the gateway has not started"
        yield json.loads(line)["grpc"]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def prepare(home: Path) -> dict[str, str]:
    """The files that a reader of the recipes has."""
    certificates = Certificates(home)
    for name, files in (
        ("server", certificates.server("server-files")),
        ("workload", certificates.client("workload-files", "spiffe://mesh/ns/search/indexer")),
    ):
        (home / f"{name}.pem").write_bytes(Path(files.cert).read_bytes())
        (home / f"{name}.key").write_bytes(Path(files.key).read_bytes())
    issuer = Issuer()
    (home / "keys.json").write_text(key_set(issuer))
    (home / "user.jwt").write_text(issuer.token(sub="user"))
    (home / "flow.json").write_text(json.dumps({"steps": [], "output": {"$input": "$"}}))
    return {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "RUNS_GATEWAY_GRPC_ADDRESS": "127.0.0.1:0",
        "RUNS_GATEWAY_HTTP_ADDRESS": "127.0.0.1:0",
        "RUNS_GATEWAY_METRICS_ADDRESS": "off",
        **coverage_settings(),
    }


async def succeeds(command: str, home: Path, environment: Mapping[str, str]) -> str:
    process = await shell(command, home, environment)
    out, _ = await process.communicate()
    assert process.returncode == 0, command
    return out.decode()


@pytest.mark.parametrize("title", RECIPES)
async def test_the_recipe_works_as_it_is_printed(title: str, tmp_path: Path) -> None:
    environment = prepare(tmp_path)
    blocks = RECIPES[title]
    [serve] = [block for block in blocks if block.startswith(SERVES)]
    place = blocks.index(serve)
    async with asyncio.timeout(100):
        for block in blocks[:place]:
            await succeeds(block, tmp_path, environment)
        async with serving(serve, tmp_path, environment) as address:
            environment["RUNS_GATEWAY_ADDRESS"] = address
            for block in blocks[place + 1 :]:
                assert "1" in await succeeds(block, tmp_path, environment)
            # Nobody is let in who shows nothing.
            bare = await shell("runs-gateway list --tls-ca ca.pem 2>&1", tmp_path, environment)
            out, _ = await bare.communicate()
            assert bare.returncode != 0
            assert out.decode().count("\n") == 1, "an error is one line"


def test_there_are_recipes() -> None:
    assert len(RECIPES) == 3


async def test_the_role_of_a_printed_token_is_that_of_the_settings_on_the_page(tmp_path: Path) -> None:
    """And the page says beside it that the role is needed, without which the gateway does not start."""
    environment = prepare(tmp_path)
    [section] = re.findall(r"\n### Tokens in a file\n(.*?)(?=\n##)", PAGE, re.DOTALL)
    assert "is the role" in section
    [command] = re.findall(r"\$ (runs-gateway token create .*)", section)
    made = await succeeds(command, tmp_path, environment)
    (tmp_path / "tokens.toml").write_text(made.partition("\n\n")[2])
    [roles] = re.findall(r"```toml\n(\[roles\]\n.*?)```", PAGE, re.DOTALL)
    (tmp_path / "settings.toml").write_text(roles)
    serve = "runs-gateway serve --state :memory: --tokens tokens.toml"
    async with serving(f"{serve} --config settings.toml", tmp_path, environment) as address:
        assert address
    refused = await shell(f"exec {serve}", tmp_path, environment)
    out, _ = await refused.communicate()
    assert out == b""
    assert refused.returncode == 1
