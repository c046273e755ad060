"""Whole gateways over TLS: both fronts, with workers, as upstreams of each other, and while certificates change."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from aiohttp import ClientSession

from gateway.core.client_tls import ClientTls
from gateway.core.server_tls import ServerTls, ServerTlsFiles
from gateway.fronts.grpc import GrpcFront
from gateway.peers.grpc.client_tls import open_channel
from gateway.runs.services import RunsServices
from gateway.server.app import running
from gateway.server.listening import Addresses
from gateway.server.settings import ServeSettings
from runs.v1 import blobs_pb2, blobs_pb2_grpc, runs_pb2, runs_pb2_grpc
from tests.support.certificates import Certificates, MountedSecret, overwrite
from tests.support.command_line import CommandLine
from tests.support.component_server import Call, ComponentServer
from tests.support.grpc_calls import read_all
from tests.support.http_front import call, running_front
from tests.support.identities import token_entry, token_of, write_tokens
from tests.support.scripted_runtime import FLOW, ScriptedRuntime
from tests.support.tasks import LIMIT
from tests.support.tls_checks import ALL_REFUSED, RefusedByServer, refused_certificates, shake_hands, weaknesses

MODES: Final = {"one process": (), "workers": ("--workers", "2")}


@pytest.fixture
def authority(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def commands(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


class Stubs:
    """The services at an address, over TLS."""

    def __init__(self, channel: Any) -> None:
        self.runs: Any = runs_pb2_grpc.RunsServiceStub(channel)
        self.blobs: Any = blobs_pb2_grpc.BlobsServiceStub(channel)

    async def submit(self, *inputs: str) -> Any:
        """Submit a run of the scripted flow."""
        put = blobs_pb2.PutBlobRequest(json=str(FLOW.content), type=blobs_pb2.BLOB_TYPE_FLOW)
        flow_id = (await self.blobs.PutBlob(put, timeout=20)).blob_id
        request = runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=[runs_pb2.JsonValue(json=text) for text in inputs])
        return (await self.runs.SubmitRun(request, timeout=20)).run


@asynccontextmanager
async def calling(address: str, tls: ClientTls | None) -> AsyncIterator[Stubs]:
    async with open_channel(address, (("grpc.use_local_subchannel_pool", 1),), tls=tls) as channel:
        yield Stubs(channel)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
async def test_both_fronts_are_strong_and_refuse_bad_certificates(
    commands: CommandLine, authority: Certificates, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    files = authority.server()
    flags = ("--tls-cert", files.cert, "--tls-key", files.key, "--tls-client-ca", authority.ca)
    trust = ClientTls(authority.ca, *authority.client())
    other = Certificates(tmp_path, "other")
    async with commands.serving("--state", ":memory:", *flags, *mode) as serving:
        assert serving.http.startswith("https://")
        for address, alpn in ((serving.grpc, "h2"), (serving.http.removeprefix("https://"), "http/1.1")):
            assert await weaknesses(address, trust, alpn) == []
            assert await refused_certificates(address, authority, other, alpn) == ALL_REFUSED
        async with calling(serving.grpc, trust) as stubs:
            await stubs.runs.ListRuns(runs_pb2.ListRunsRequest(), timeout=20)
        async with ClientSession() as http, http.get(f"{serving.http}/health", ssl=trust.context()) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
async def test_a_new_certificate_reaches_every_process(
    commands: CommandLine, authority: Certificates, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    secret = MountedSecret(tmp_path / "mounted", authority.server())
    following = Certificates(tmp_path, "next")
    flags = ("--tls-cert", secret.files.cert, "--tls-key", secret.files.key)
    old, new = ClientTls(authority.ca), ClientTls(following.ca)
    async with AsyncExitStack() as stack:
        serving = await stack.enter_async_context(commands.serving("--state", ":memory:", *flags, *mode))
        stubs = await stack.enter_async_context(calling(serving.grpc, old))
        stream = stubs.runs.WatchRuns(timeout=60)
        await stream.write(watch((await stubs.submit()).run_id))
        assert await stream.read()
        secret.swap(following.server())
        for address in (serving.grpc, serving.http.removeprefix("https://")):
            taken = 0
            while taken < 8:  # Connections are shared out: so many in a row have met each process, but for bad luck.
                taken = taken + 1 if await takes(address, new) else 0
        await stream.write(watch((await stubs.submit()).run_id))
        assert await stream.read()
        stream.cancel()


def watch(run_id: str) -> runs_pb2.WatchRunsRequest:
    return runs_pb2.WatchRunsRequest(add=runs_pb2.GetRunRequest(run_id=run_id, wait=True))


def context_of(tls: ClientTls) -> ssl.SSLContext:
    """The context of a client that speaks what either front does."""
    context = tls.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def takes(address: str, tls: ClientTls) -> bool:
    try:
        await shake_hands(address, context_of(tls))
    except RefusedByServer:
        return False
    return True


async def test_what_cannot_be_used_ends_the_start_in_one_line(commands: CommandLine, authority: Certificates) -> None:
    files, other = authority.server(), authority.server("other")
    for mode in MODES.values():
        refused = await commands.run(
            "serve", "--state", ":memory:", "--tls-cert", files.cert, "--tls-key", other.key, *mode,
            "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0",
        )  # fmt: skip
        line = f"error: the key in {other.key} is not that of the certificate in {files.cert} (--tls-key)\n"
        assert (refused.code, refused.err) == (1, line)


@asynccontextmanager
async def gateway(**settings: Any) -> AsyncIterator[Addresses]:
    free = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "metrics_address": "off"}
    given = {**free, "state": ":memory:", **settings}
    async with running(ServeSettings(**given)) as addresses:
        yield addresses


@pytest.mark.parametrize("kind", ["grpcs://{grpc}", "jsonrpc+https://{http}/"])
async def test_gateways_over_gateways_that_ask_who_they_are(authority: Certificates, tmp_path: Path, kind: str) -> None:
    files, client = authority.server(), authority.client()
    tokens = write_tokens(tmp_path / "tokens.toml", token_entry("relay"))
    token = tmp_path / "token"
    token.write_text(token_of("relay"))
    served = {"tls_cert": files.cert, "tls_key": files.key, "tls_client_ca": authority.ca, "tokens": str(tokens)}
    shown = {"upstream_ca": authority.ca, "upstream_cert": client.cert, "upstream_key": client.key}
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(gateway(**served))
        runtime = kind.format(grpc=first.grpc, http=first.http)
        second = await stack.enter_async_context(gateway(runtime=runtime, upstream_token_file=str(token), **shown))
        stubs = await stack.enter_async_context(calling(second.grpc, None))
        run = await stubs.submit("1", "2")
        stream = stubs.runs.GetRun(runs_pb2.GetRunRequest(run_id=run.run_id, wait=True), timeout=20)
        last = [message.run async for message in stream][-1]
        assert last.status == runs_pb2.RUN_STATE_SUCCESS
        third = await stack.enter_async_context(gateway(runtime=runtime, **shown))
        strangers = await stack.enter_async_context(calling(third.grpc, None))
        with pytest.raises(grpc.aio.AioRpcError):
            await strangers.submit("1")


async def test_a_relay_follows_the_files_of_its_own(authority: Certificates, tmp_path: Path) -> None:
    """Its upstream comes back with the certificate of another authority, and asks for another one."""
    following = Certificates(tmp_path, "next")
    secret = MountedSecret(tmp_path / "mounted", authority.client())
    trusted = str(tmp_path / "trusted.pem")
    overwrite(trusted, authority.ca)
    shown = {"upstream_ca": trusted, "upstream_cert": secret.files.cert, "upstream_key": secret.files.key}

    def upstream(of: Certificates, address: str = "127.0.0.1:0") -> AbstractAsyncContextManager[Addresses]:
        files = of.server()
        return gateway(tls_cert=files.cert, tls_key=files.key, tls_client_ca=of.ca, grpc_address=address)

    async with AsyncExitStack() as stack:
        async with upstream(authority) as first:
            relay = await stack.enter_async_context(gateway(runtime=f"grpcs://{first.grpc}", **shown))
            stubs = await stack.enter_async_context(calling(relay.grpc, None))
            await stubs.submit("1")
        overwrite(trusted, following.ca)
        secret.swap(following.client())
        async with upstream(following, first.grpc):
            await stubs.submit("1")


async def test_component_servers_find_blobs_without_tls_and_nothing_else(authority: Certificates) -> None:
    async def refuse(call: Call) -> None:
        raise AssertionError(call.message)

    files = authority.server()
    server = ComponentServer(refuse)
    async with server.running() as url:
        flags = {"tls_cert": files.cert, "tls_key": files.key, "components": {"/": url}}
        async with gateway(**flags), ClientSession() as http:
            async with asyncio.timeout(LIMIT):
                while "initialize" not in server.methods():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            (told,) = (call for call in server.calls if call.message.get("method") == "initialize")
            blobs = told.message["params"]["capabilities"]["blobApiUrl"]
            assert blobs.startswith("http://127.0.0.1:")
            async with http.post(blobs, json={"data": 1, "blobType": "data"}) as answer:
                assert answer.status == 200
            async with http.post(blobs.partition("/api")[0], json={}) as answer:
                assert answer.status == 404


STREAMS: Final = [
    pytest.param(10, 40, id="few"),
    pytest.param(100, 1_000, id="many", marks=[pytest.mark.slow, pytest.mark.no_cover]),
]


@pytest.mark.parametrize(("rotations", "streams"), STREAMS)
async def test_certificates_rotated_100_times_under_1000_streams(
    authority: Certificates, tmp_path: Path, rotations: int, streams: int
) -> None:
    """Half of the streams are on gRPC, and half on HTTP. Each gets every update, and its end."""
    secret = MountedSecret(tmp_path / "mounted", authority.server())
    tls = ServerTls(ServerTlsFiles(*secret.files))
    trust = ClientTls(authority.ca)
    runtime = ScriptedRuntime()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(running_front(runtime=runtime, tls=tls, client_context=trust.context()))
        grpc_front = GrpcFront(RunsServices(http.service), "127.0.0.1:0", tls=tls)
        await grpc_front.start()
        stack.push_async_callback(grpc_front.stop, 0)
        stubs = [await stack.enter_async_context(calling(grpc_front.address, trust)) for _ in range(5)]
        run = await stubs[0].submit(*map(str, range(rotations)))
        request = runs_pb2.GetRunRequest(run_id=run.run_id, wait=True, include_results=True)
        by_grpc = [stubs[index % 5].runs.GetRun(request, timeout=120) for index in range(streams // 2)]
        by_http = [await http.connect() for _ in range(streams // 2)]
        body = call(
            "runs/get", {"runId": run.run_id, "wait": True, "includeResults": True}, "Accept: text/event-stream"
        )
        for connection in by_http:
            connection.send(body)
            assert (await connection.head())[0] == 200
        for stream in by_grpc:
            await stream.read()
        for rotation in range(rotations):
            secret.swap(authority.server(f"server{rotation % 3}"))
            await tls.look()
            await shake_hands(grpc_front.address, context_of(trust))
            await shake_hands(http.front.address, context_of(trust))
            await runtime.succeed(rotation, str(rotation))
        assert tls.generation == rotations
        for stream in by_grpc:
            found = [result.item_index for message in await read_all(stream) for result in message.run.results]
            assert found == list(range(rotations))
        for connection in by_http:
            text = b"".join([chunk async for chunk in connection.chunks()]).decode()
            (last,) = (
                json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ") and '"id":1' in line
            )
            assert [result["itemIndex"] for result in last["result"]["results"]] == list(range(rotations))
