"""Secrets appear nowhere: everything that a gateway and its commands write is searched for canaries."""

import asyncio
import json
import signal
import ssl
from pathlib import Path
from typing import Any, Final

import aiohttp
import grpc

from gateway.client import AsyncRunsClient, GatewayError
from gateway.client.security import Security
from gateway.server.settings_sources import load_serve
from tests.support.certificates import Certificates
from tests.support.command_line import CommandLine
from tests.support.identities import Issuer, key_set, token_entry, write_tokens

FLOW: Final = {"steps": [], "output": {"$input": "$"}}
SIGNING_KEY: Final = "canary-signing-key-0123456789abcdef0123456789abcdef"
TOKEN: Final = "rgw_canary-token-0123456789abcdef"
WRONG_TOKEN: Final = "rgw_canary-of-a-wrong-token"


def read(path: str) -> str:
    """The text of a file, in which zeros end its parts."""
    return Path(path).read_text(encoding="utf-8").replace("\0", " ")


class Secrets:
    """The files of a gateway with every kind of identity, and what must not be seen of them."""

    def __init__(self, home: Path) -> None:
        self.issuer = Issuer()
        certificates = Certificates(home)
        self.ca, self.server = certificates.ca, certificates.server()
        self.tokens = write_tokens(home / "tokens.toml", token_entry("team", token=TOKEN))
        self.signing_key = home / "signing.key"
        self.signing_key.write_text(f"{SIGNING_KEY}\n")
        self.keys = home / "keys.json"
        self.keys.write_text(key_set(self.issuer))
        self.token_file = home / "token"
        self.token_file.write_text(f"{TOKEN}\n")
        key = Path(self.server.key).read_text().splitlines()
        jwts = [self.issuer.token(), *self.issuer.wrong_tokens().values()]
        # Of a JWT, its signature is the secret: `a.b` has none.
        self.canaries = [TOKEN, WRONG_TOKEN, SIGNING_KEY, key[1], *(jwt for jwt in jwts if len(jwt) > 20)]

    @property
    def settings(self) -> dict[str, str]:
        return {
            "tokens": str(self.tokens),
            "signing_key": str(self.signing_key),
            "jwt_issuer": self.issuer.issuer,
            "jwt_audience": "runs-gateway",
            "jwt_keys": str(self.keys),
            "tls_cert": self.server.cert,
            "tls_key": self.server.key,
        }

    @property
    def flags(self) -> list[str]:
        return [part for name, value in self.settings.items() for part in (f"--{name.replace('_', '-')}", value)]

    def seen_in(self, text: str) -> list[str]:
        return [canary for canary in self.canaries if canary in text]


async def call_in_all_ways(secrets: Secrets, address: str, http: str) -> str:
    """Good and bad calls over both fronts; what they are told. New secrets become canaries."""
    told: list[str] = []
    jwts = [secrets.issuer.token(), *secrets.issuer.wrong_tokens().values()]
    secrets.canaries += [jwt for jwt in jwts if len(jwt) > 20]
    for token in (TOKEN, WRONG_TOKEN, *jwts):
        async with AsyncRunsClient(address, ca=secrets.ca, token=token, retry_for=0) as client:
            try:
                flow_id = await client.put_flow(FLOW)
                run = await client.submit_and_wait(flow_id, [1])
                made = await client.create_token(["runs:read"], run_id=run.run_id)
                secrets.canaries.append(made.token)
                told.append(repr(made))
                await client.get("no run")
            except GatewayError as error:
                told.append(f"{error!r} {error.data}")
    # Malformed presentations.
    async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(read(secrets.ca).encode())) as channel:
        method: Any = channel.unary_stream("/runs.v1.RunsService/GetRun")
        call = method(b"\xff\xff", metadata=(("authorization", f"bearer  {WRONG_TOKEN}"),))
        told.append(f"{await call.code()} {await call.details()} {await call.trailing_metadata()}")
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=secrets.ca))
    async with aiohttp.ClientSession(connector=connector) as session:
        for value in (f"Bearer {WRONG_TOKEN}", f"Basic {WRONG_TOKEN}", WRONG_TOKEN, f"Bearer {TOKEN}"):
            for body in ("{", json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": 3}})):
                headers = {"Authorization": value, "Content-Type": "application/json"}
                async with session.post(http, data=body, headers=headers) as response:
                    told.append(f"{response.status} {response.headers} {await response.text()}")
    return "\n".join(told)


async def test_no_secret_is_written_anywhere(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    command = CommandLine(tmp_path)
    audit = tmp_path / "audit.log"
    texts: dict[str, str] = {}
    async with asyncio.timeout(110):
        flags = [*secrets.flags, "--state", ":memory:", "--log-level", "debug", "--audit-log", str(audit)]
        async with command.serving(*flags) as serving:
            http = serving.http.replace("http://", "https://")
            texts["answers"] = await call_in_all_ways(secrets, serving.grpc, http)
            process = serving.process
            texts["cmdline"] = read(f"/proc/{process.pid}/cmdline")
            texts["environ"] = read(f"/proc/{process.pid}/environ")
            for arguments, env in (
                (("list", "--token-file", str(secrets.token_file)), {}),
                (("list",), {"RUNS_GATEWAY_TOKEN": WRONG_TOKEN}),
                (("get", "x", "--token-file", str(secrets.signing_key)), {}),
                (("list", "--token-file", str(secrets.tokens)), {}),
                (("list", "--tls-cert", str(secrets.signing_key)), {}),
                (("list", "--help"), {"RUNS_GATEWAY_TOKEN": TOKEN}),
                (("serve", "--help"), {"RUNS_GATEWAY_TOKEN": TOKEN}),
                (("serve", "--tokens", str(secrets.signing_key)), {}),
                (("serve", "--tls-cert", secrets.server.key, "--tls-key", secrets.server.key), {}),
                (("serve", "--jwt-keys", str(secrets.signing_key)), {}),
            ):
                finished = await command.run(*arguments, env={"RUNS_GATEWAY_TLS_CA": secrets.ca, **env})
                texts[" ".join(arguments)] = finished.out + finished.err
            process.send_signal(signal.SIGTERM)
            _, log = await process.communicate()
            texts["log"] = log.decode()
    texts["audit"] = audit.read_text() if audit.exists() else ""
    settings = load_serve(secrets.settings, {}, None)
    texts["settings"] = f"{settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    security = Security("localhost:1", None, {"token": TOKEN})
    texts["client"] = f"{security!r} {vars(security)!r}"
    assert {name: found for name, text in texts.items() if (found := secrets.seen_in(text))} == {}
    assert texts["audit"], "there is something to look through"
    assert "DEBUG" in texts["log"]
