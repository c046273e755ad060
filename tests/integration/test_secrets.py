"""Secrets appear nowhere: everything that a gateway and its commands write is searched for canaries."""

import asyncio
import json
import logging
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import grpc
import pytest

from gateway.client import AsyncRunsClient, GatewayError
from gateway.client.security import Security
from gateway.fronts.grpc import GrpcFront
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.server.settings_sources import load_serve
from tests.support.certificates import Certificates
from tests.support.command_line import CommandLine
from tests.support.component_server import Call, ComponentServer
from tests.support.identities import Issuer, key_set, token_entry, write_tokens
from tests.support.scripted_runtime import ScriptedRuntime

FLOW: Final = {"steps": [], "output": {"$input": "$"}}
SIGNING_KEY: Final = "canary-signing-key-0123456789abcdef0123456789abcdef"
TOKEN: Final = "rgw_canary-token-0123456789abcdef"
WRONG_TOKEN: Final = "rgw_canary-of-a-wrong-token"
HELD: Final = {
    "steps": [{"id": "s", "component": "/blobs/use", "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}


def read(path: str) -> str:
    """The text of a file, in which zeros end its parts."""
    return Path(path).read_text(encoding="utf-8").replace("\0", " ")


class Secrets:
    """The files of a gateway with every kind of identity, and what must not be seen of them."""

    def __init__(self, home: Path) -> None:
        self.issuer = Issuer()
        certificates = Certificates(home)
        self.ca, self.server = certificates.ca, certificates.server()
        self.client = certificates.client()
        self.tokens = write_tokens(home / "tokens.toml", token_entry("team", token=TOKEN))
        self.signing_key = home / "signing.key"
        self.signing_key.write_text(f"{SIGNING_KEY}\n")
        self.keys = home / "keys.json"
        self.keys.write_text(key_set(self.issuer))
        self.token_file = home / "token"
        self.token_file.write_text(f"{TOKEN}\n")
        keys = [Path(files.key).read_text().splitlines()[1] for files in (self.server, self.client)]
        jwts = [self.issuer.token(), *self.issuer.wrong_tokens().values()]
        # Of a JWT, its signature is the secret: `a.b` has none.
        self.canaries = [TOKEN, WRONG_TOKEN, SIGNING_KEY, *keys, *(jwt for jwt in jwts if len(jwt) > 20)]

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
            "tls_client_ca": self.ca,
        }

    @property
    def environment(self) -> dict[str, str]:
        """What commands need to reach the gateway."""
        return {
            "RUNS_GATEWAY_TLS_CA": self.ca,
            "RUNS_GATEWAY_TLS_CLIENT_CERT": self.client.cert,
            "RUNS_GATEWAY_TLS_CLIENT_KEY": self.client.key,
        }

    @property
    def channel_credentials(self) -> grpc.ChannelCredentials:
        """What a client of gRPC needs to reach it."""
        files = (self.ca, self.client.key, self.client.cert)
        return grpc.ssl_channel_credentials(*(Path(file).read_bytes() for file in files))

    def session(self) -> aiohttp.ClientSession:
        """A client of HTTP that reaches it."""
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(*self.client)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))

    @property
    def flags(self) -> list[str]:
        return [part for name, value in self.settings.items() for part in (f"--{name.replace('_', '-')}", value)]

    def seen_in(self, text: str) -> list[str]:
        return [canary for canary in self.canaries if canary in text]


class BlobUser:
    """A component server that uses and misuses the capability it is told, which becomes a canary, within its call."""

    def __init__(self, secrets: Secrets) -> None:
        self.told: list[str] = []
        self._secrets = secrets
        self.server = ComponentServer(
            self._execute,
            {"initialize": {"serverProtocolVersion": 1}, "components/list": {"components": [{"component": "/use"}]}},
        )

    async def _execute(self, call: Call) -> None:
        starts = [call for call in self.server.calls if call.message.get("method") == "initialize"]
        url = starts[-1].message["params"]["capabilities"]["blobApiUrl"]
        base, _, rest = url.partition("/c/")
        capability = rest.partition("/")[0]
        self._secrets.canaries += [capability, capability.partition(".")[2]]
        body = {"data": {"a": "blob"}, "blobType": "data"}
        async with self._secrets.session() as session:
            for method, place in (
                ("POST", url),
                ("GET", f"{url}/no-blob"),
                ("DELETE", url),
                ("POST", url.replace("/c/", "//c/")),
                ("POST", f"{base}/C/{rest}"),
                ("POST", f"{base}/c/{capability}"),
                ("POST", f"{base}/c/{capability}/"),
                ("POST", f"{base}/c/{capability}{capability}/api/v1/blobs"),
                ("POST", f"{base}/?{capability}"),
            ):
                async with session.request(method, place, json=body) as response:
                    self.told.append(f"{response.status} {response.headers} {await response.text()}")
        await call.result({"output": [line.partition(" ")[0] for line in self.told]})


async def call_in_all_ways(secrets: Secrets, address: str, http: str) -> str:
    """Good and bad calls over both fronts; what they are told. New secrets become canaries."""
    told: list[str] = []
    jwts = [secrets.issuer.token(), *secrets.issuer.wrong_tokens().values()]
    secrets.canaries += [jwt for jwt in jwts if len(jwt) > 20]
    for token in (TOKEN, WRONG_TOKEN, *jwts):
        cert, key = secrets.client
        async with AsyncRunsClient(address, ca=secrets.ca, cert=cert, key=key, token=token, retry_for=0) as client:
            try:
                flow_id = await client.put_flow(FLOW)
                run = await client.submit_and_wait(flow_id, [1])
                made = await client.create_token(["runs:read"], run_id=run.run_id)
                secrets.canaries.append(made.token)
                told.append(repr(made))
                await client.submit_and_wait(await client.put_flow(HELD), [2])
                await client.get("no run")
            except GatewayError as error:
                told.append(f"{error!r} {error.data}")
    # Malformed presentations.
    async with grpc.aio.secure_channel(address, secrets.channel_credentials) as channel:
        method: Any = channel.unary_stream("/runs.v1.RunsService/GetRun")
        call = method(b"\xff\xff", metadata=(("authorization", f"bearer  {WRONG_TOKEN}"),))
        told.append(f"{await call.code()} {await call.details()} {await call.trailing_metadata()}")
    async with secrets.session() as session:
        for value in (f"Bearer {WRONG_TOKEN}", f"Basic {WRONG_TOKEN}", WRONG_TOKEN, f"Bearer {TOKEN}"):
            for body in ("{", json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": 3}})):
                headers = {"Authorization": value, "Content-Type": "application/json"}
                async with session.post(http, data=body, headers=headers) as response:
                    told.append(f"{response.status} {response.headers} {await response.text()}")
    return "\n".join(told)


async def run_commands(secrets: Secrets, command: CommandLine) -> dict[str, str]:
    """Good and bad commands, and what they print."""
    texts: dict[str, str] = {}
    for arguments, env in (
        (("list", "--token-file", str(secrets.token_file)), {}),
        (("list",), {"RUNS_GATEWAY_TOKEN": WRONG_TOKEN}),
        (("get", "x", "--token-file", str(secrets.signing_key)), {}),
        (("list", "--token-file", str(secrets.tokens)), {}),
        (("list", "--tls-cert", str(secrets.signing_key)), {}),
        (("list", "--tls-cert", secrets.client.key), {}),
        (("list", "--tls-ca", secrets.client.key), {}),
        (("list", "--tls-key", secrets.server.key), {"RUNS_GATEWAY_TOKEN": TOKEN}),
        (("list", "--help"), {"RUNS_GATEWAY_TOKEN": TOKEN}),
        (("serve", "--help"), {"RUNS_GATEWAY_TOKEN": TOKEN}),
        (("serve", "--tokens", str(secrets.signing_key)), {}),
        (("serve", "--tls-cert", secrets.server.key, "--tls-key", secrets.server.key), {}),
        (("serve", "--jwt-keys", str(secrets.signing_key)), {}),
    ):
        finished = await command.run(*arguments, env={**secrets.environment, **env})
        texts[" ".join(arguments)] = finished.out + finished.err
    return texts


def processes_of(pid: int) -> Iterator[int]:
    """A process and those that it has started."""
    yield pid
    for child in read(f"/proc/{pid}/task/{pid}/children").split():
        yield from processes_of(int(child))


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "workers"])
async def test_no_secret_is_written_anywhere(tmp_path: Path, options: tuple[str, ...]) -> None:
    secrets = Secrets(tmp_path)
    command = CommandLine(tmp_path)
    audit = tmp_path / "audit.log"
    user = BlobUser(secrets)
    async with asyncio.timeout(110), user.server.running() as url:
        flags = [*secrets.flags, "--state", ":memory:", "--log-level", "debug", "--audit-log", str(audit), *options]
        async with command.serving(*flags, "--component", f"/blobs={url}", env={"TMPDIR": str(tmp_path)}) as serving:
            http = serving.http.replace("http://", "https://")
            texts = {"answers": await call_in_all_ways(secrets, serving.grpc, http)}
            for pid in processes_of(serving.process.pid):
                texts[f"cmdline of {pid}"] = read(f"/proc/{pid}/cmdline")
                texts[f"environ of {pid}"] = read(f"/proc/{pid}/environ")
            if not options:
                texts |= await run_commands(secrets, command)
            serving.process.send_signal(signal.SIGTERM)
            _, log = await serving.process.communicate()
            texts["log"] = log.decode()
    texts["blobs"] = "\n".join(user.told)
    texts["audit"] = audit.read_text() if audit.exists() else ""
    settings = load_serve(secrets.settings, {}, None)
    texts["settings"] = f"{settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    cert, key = secrets.client
    security = Security("localhost:1", None, {"token": TOKEN, "ca": secrets.ca, "cert": cert, "key": key})
    texts["client"] = f"{security!r} {vars(security)!r}"
    assert {name: found for name, text in texts.items() if (found := secrets.seen_in(text))} == {}
    assert texts["audit"], "there is something to look through"
    assert "DEBUG" in texts["log"]
    assert user.told[0].startswith("200"), "the capability is good for something"


async def test_the_traceback_of_a_defect_has_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    runtime = ScriptedRuntime()
    service = RunsService(runtime, grace=0)
    services = RunsServices(service)
    grpc_front = GrpcFront(services, "127.0.0.1:0")
    http_front = HttpFront(JsonRpcMethods(services), "127.0.0.1:0")
    await runtime.break_down(ValueError("a defect"))
    for front in (grpc_front, http_front):
        await front.start()
    async with AsyncRunsClient(grpc_front.address, token=TOKEN, retry_for=0) as client:
        with pytest.raises(GatewayError, match="internal error, id") as told:
            await client.put_flow(FLOW)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"http://{http_front.address}/api/v1/blobs", json={"data": 1}) as response,
    ):
        assert response.status == 500
        answer = await response.text()
    for stopping in (grpc_front, http_front):
        await stopping.stop(0)
    await service.close()
    assert caplog.text.count("ValueError: a defect") == 2
    assert "Traceback" in caplog.text
    assert TOKEN not in f"{caplog.text} {told.value!r} {answer}"
