"""`runs-gateway health` beside real gateways, with their environment."""

import signal
from pathlib import Path

import pytest
import trustme

from tests.support.command_line import CommandLine


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "TLS"])
async def test_it_tells_how_the_gateway_is(tmp_path: Path, over_tls: bool) -> None:
    command = CommandLine(tmp_path)
    options = ["--state", ":memory:", "--drain-delay", "60"]
    env = {}
    if over_tls:
        certificate = trustme.CA().issue_cert("gateway.example")
        certificate.private_key_and_cert_chain_pem.write_to_path(f"{tmp_path}/both.pem")
        env = {f"RUNS_GATEWAY_TLS_{name}": f"{tmp_path}/both.pem" for name in ("CERT", "KEY")}
    async with command.serving(*options, env=env) as serving:
        env["RUNS_GATEWAY_HTTP_ADDRESS"] = serving.http.partition("://")[2]
        for probe in ("livez", "startupz", "readyz"):
            assert (await command.run("health", probe, env=env)).code == 0
        serving.process.send_signal(signal.SIGTERM)
        told = await command.run("health", env=env)
        while told.code == 0:  # It may ask before the signal arrives.
            told = await command.run("health", env=env)
        assert told.code == 4
        assert "shutdown" in told.err
        assert (await command.run("health", "livez", env=env)).code == 0
        serving.process.send_signal(signal.SIGTERM)
