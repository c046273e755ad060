"""Clients of Connect and gRPC-Web from elsewhere: each method, errors with details, exact numbers, cancellation."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from connectrpc.client import ConnectClient
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType

from runs.v1 import blobs_pb2, runs_pb2
from tests.integration.conftest import Gateway, Join, Start
from tests.support.counted import Counted
from tests.support.identities import token_entry, token_of, write_tokens
from tests.support.left_run import left_run
from tests.support.node_packages import NODE

FLOW = '{"name":"echo","steps":[],"output":{"$input":"$"}}'
EXACT = ["1152921504606846977", "1e400", "0.10", '{"b":1,"a":null}', '"\\u0000é𝄞"']
INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED = 3, 5, 12
MANY = 20_000
OPEN = "runs_gateway_open_streams"
TRANSPORTS = [
    "connect-web",
    "connect-web-binary",
    "connect-web-get",
    "connect-web-grpc-web",
    "connect-web-grpc-web-json",
    "connect-node",
    "connect-node-get",
    "connect-node-grpc-web",
    "grpc-web-package",
    "grpc-web-package-text",
]
CODECS = {"proto": google_protobuf_binary_codec, "json": google_protobuf_json_codec}


def method(service: str, name: str, request: Any, answer: Any, kind: StreamType = StreamType.UNARY) -> Any:
    level = IdempotencyLevel.NO_SIDE_EFFECTS if name.startswith(("GetBlob", "List")) else IdempotencyLevel.UNKNOWN
    return MethodInfo(
        name=name, service_name=service, input=request, output=answer, idempotency_level=level, stream_type=kind
    )


WATCH = method(
    "runs.v1.RunsService",
    "WatchRuns",
    runs_pb2.WatchRunsRequest,
    runs_pb2.WatchRunsResponse,
    StreamType.BIDI_STREAM,
)


class PythonClient:
    """The client of `connectrpc`."""

    def __init__(self, address: str, protocol: ProtocolType, codec: str, **options: Any) -> None:
        self.client = ConnectClient(f"http://{address}", protocol=protocol, codec=CODECS[codec](), **options)

    async def call(self, name: str, request: Any, **options: Any) -> Any:
        service, module = ("BlobsService", blobs_pb2) if name.endswith("Blob") else ("RunsService", runs_pb2)
        described = method(f"runs.v1.{service}", name, type(request), getattr(module, f"{name}Response"))
        return await self.client.execute_unary(request=request, method=described, **options)

    def follow(self, **fields: Any) -> Any:
        described = method(
            "runs.v1.RunsService",
            "GetRun",
            runs_pb2.GetRunRequest,
            runs_pb2.GetRunResponse,
            StreamType.SERVER_STREAM,
        )
        return self.client.execute_server_stream(request=runs_pb2.GetRunRequest(**fields), method=described)

    async def flow(self) -> str:
        put = await self.call("PutBlob", blobs_pb2.PutBlobRequest(json=FLOW, type=blobs_pb2.BLOB_TYPE_FLOW))
        blob_id: str = put.blob_id
        return blob_id

    async def submit(self, *inputs: str, **fields: Any) -> runs_pb2.RunStatus:
        values = [runs_pb2.JsonValue(json=text) for text in inputs]
        request = runs_pb2.SubmitRunRequest(flow_id=await self.flow(), inputs=values, **fields)
        run: runs_pb2.RunStatus = (await self.call("SubmitRun", request)).run
        return run


@pytest.fixture(params=[ProtocolType.CONNECT, ProtocolType.GRPC_WEB], ids=["connect", "grpc-web"])
def protocol(request: Any) -> ProtocolType:
    found: ProtocolType = request.param
    return found


@pytest.fixture(params=list(CODECS))
def client(request: Any, gateway: Gateway, protocol: ProtocolType) -> PythonClient:
    return PythonClient(gateway.addresses.http, protocol, request.param)


async def results(updates: AsyncIterator[runs_pb2.GetRunResponse]) -> list[str]:
    return [result.value.json async for update in updates for result in update.run.results]


async def test_payloads_stay_exact(client: PythonClient) -> None:
    run = await client.submit(*EXACT, wait=True)
    assert run.items.success == len(EXACT)
    assert sorted(await results(client.follow(run_id=run.run_id, wait=True, include_results=True))) == sorted(EXACT)


async def test_many_results_come(client: PythonClient) -> None:
    run = await client.submit(*map(str, range(MANY)))
    texts = await results(client.follow(run_id=run.run_id, wait=True, include_results=True))
    assert sorted(map(int, texts)) == list(range(MANY))


async def test_reads_are_called_by_get(gateway: Gateway, client: PythonClient) -> None:
    flow_id = await client.flow()
    got = await client.call("GetBlob", blobs_pb2.GetBlobRequest(blob_id=flow_id))
    assert json.loads(got.json) == json.loads(FLOW)
    connect = PythonClient(gateway.addresses.http, ProtocolType.CONNECT, "proto")
    by_get = await connect.call("GetBlob", blobs_pb2.GetBlobRequest(blob_id=flow_id), use_get=True)
    assert by_get == got
    assert not (await connect.call("ListRuns", runs_pb2.ListRunsRequest(), use_get=True)).runs


async def test_inputs_come_in_parts(client: PythonClient) -> None:
    flow_id = await client.flow()

    async def parts() -> AsyncIterator[runs_pb2.SubmitRunStreamRequest]:
        yield runs_pb2.SubmitRunStreamRequest(parameters=runs_pb2.SubmitRunRequest(flow_id=flow_id, wait=True))
        for index in range(10):
            yield runs_pb2.SubmitRunStreamRequest(inputs=[runs_pb2.JsonValue(json=str(index))])

    described = method(
        "runs.v1.RunsService",
        "SubmitRunStream",
        runs_pb2.SubmitRunStreamRequest,
        runs_pb2.SubmitRunResponse,
        StreamType.CLIENT_STREAM,
    )
    answer = await client.client.execute_client_stream(request=parts(), method=described)
    assert answer.run.items.success == 10


async def test_many_runs_are_followed_on_one_stream(client: PythonClient) -> None:
    runs = [(await client.submit("1", wait=True)).run_id for _ in range(3)]

    async def requests() -> AsyncIterator[runs_pb2.WatchRunsRequest]:
        for run_id in runs:
            yield runs_pb2.WatchRunsRequest(add=runs_pb2.GetRunRequest(run_id=run_id, wait=True))

    stream: Any = client.client.execute_bidi_stream(request=requests(), method=WATCH)
    assert {message.run_id async for message in stream} == set(runs)


async def test_errors_have_their_details(client: PythonClient) -> None:
    with pytest.raises(ConnectError) as raised:
        await client.call("SubmitRun", runs_pb2.SubmitRunRequest(flow_id="x", inputs=[runs_pb2.JsonValue(json="1")]))
    assert raised.value.code is Code.INVALID_ARGUMENT
    assert "flow_id" in raised.value.message
    kinds = {detail.type_name for detail in raised.value.details}
    assert {"google.rpc.BadRequest", "google.rpc.ErrorInfo"} <= kinds
    with pytest.raises(ConnectError) as missing:
        await results(client.follow(run_id="00000000-0000-7000-8000-000000000000"))
    assert missing.value.code is Code.NOT_FOUND


async def test_a_stream_that_is_left_ends(gateway: Gateway, client: PythonClient) -> None:
    async def requests() -> AsyncIterator[runs_pb2.WatchRunsRequest]:
        yield runs_pb2.WatchRunsRequest(add_set=runs_pb2.WatchSet(name="all"))

    counted = Counted()
    stream: Any = client.client.execute_bidi_stream(request=requests(), method=WATCH)
    assert (await anext(stream)).HasField("caught_up")
    assert counted.of(OPEN)["runs.v1.RunsService/WatchRuns",] >= 1  # A relay has streams of its own, in this process.
    await stream.aclose()
    async with asyncio.timeout(60):
        while counted.of(OPEN):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_run_on_temporal_is_followed(join: Join, protocol: ProtocolType) -> None:
    client = PythonClient((await join()).addresses.http, protocol, "json")
    run = await client.submit(*EXACT)
    texts = await results(client.follow(run_id=run.run_id, wait=True, include_results=True))
    assert sorted(texts) == sorted(EXACT)
    with pytest.raises(ConnectError) as missing:
        await results(client.follow(run_id="00000000-0000-7000-8000-000000000000"))
    assert missing.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("gateway", ["memory"], indirect=True)
async def test_messages_of_streams_come_one_by_one(client: PythonClient) -> None:
    """20,000 of them in both directions."""

    async def requests() -> AsyncIterator[runs_pb2.WatchRunsRequest]:
        for number in range(MANY):
            yield runs_pb2.WatchRunsRequest(remove=f"00000000-0000-7000-8000-{number:012}")

    stream: Any = client.client.execute_bidi_stream(request=requests(), method=WATCH)
    assert sum([message.HasField("ended") async for message in stream]) == MANY


# Node

OTHER_STATES = ["connect-web", "connect-node", "connect-web-grpc-web", "grpc-web-package-text"]


async def played(transport: str, address: str, image: Path, *token: str) -> Any:
    """What a client has to tell of the scenario."""
    command = ("node", str(NODE / "web_client.mjs"), transport, f"http://{address}", str(image), *token)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)


def check_told(told: Any) -> None:
    assert told["texts"] == EXACT
    assert json.loads(told["blob"]) == json.loads(FLOW)
    assert (told["many"], told["streamed"], told["ended"]) == (MANY, MANY, MANY)
    assert (told["listed"], told["items"]) == (1, 2)
    assert told["cancelled"] is None
    assert told["refused"]["code"] == INVALID_ARGUMENT
    assert "flow_id" in told["refused"]["message"]
    assert told["refused"]["details"]
    assert (told["missing"]["code"], told["gone"]["code"]) == (NOT_FOUND, NOT_FOUND)
    matched, cancelled, unchanged = told["kept"]
    assert (cancelled, unchanged) == (0, matched)
    assert told["deleted"] == [matched - 1, matched - 1, 0]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("gateway", ["memory"], indirect=True)
async def test_clients_of_node_agree(contract: Path, gateway: Gateway, transport: str) -> None:
    told = await played(transport, gateway.addresses.http, contract)
    check_told(told)
    assert told["created"]["code"] == UNIMPLEMENTED
    if told["unwatched"] is not None:  # By the client itself: browsers send no streams.
        assert "streaming request bodies" in told["unwatched"]["message"]


# XMLHttpRequest of npm tells of a body at its end; that of browsers is tried in test_web_pages.py.
LEAVING = [*(name for name in TRANSPORTS if not name.startswith("grpc-web-package")), "connect-node-grpc"]


@pytest.mark.parametrize("transport", LEAVING)
async def test_a_run_goes_on_whose_follower_in_node_leaves(contract: Path, start: Start, transport: str) -> None:
    async with left_run(start) as run:
        address = run.grpc if transport == "connect-node-grpc" else run.address
        process = await asyncio.create_subprocess_exec(
            *("node", str(NODE / "web_leaver.mjs"), transport, f"http://{address}", str(contract), run.run_id),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            assert (await process.stdout.readline()).decode().strip() == run.run_id
            await run.is_left()
            assert process.returncode is None  # It is not its end that has ended the stream.
            await run.goes_on()
        finally:
            await process.communicate(b"")
        assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("transport", OTHER_STATES)
@pytest.mark.parametrize("gateway", ["sqlite", "relay"], indirect=True)
async def test_clients_of_node_agree_on_other_runtimes(contract: Path, gateway: Gateway, transport: str) -> None:
    check_told(await played(transport, gateway.addresses.http, contract))


async def test_the_same_client_of_node_speaks_grpc(contract: Path, start: Start) -> None:
    check_told(await played("connect-node-grpc", (await start()).addresses.grpc, contract))


@pytest.mark.parametrize("transport", OTHER_STATES)
async def test_clients_of_node_make_tokens_with_theirs(
    contract: Path, start: Start, tmp_path: Path, transport: str
) -> None:
    file = write_tokens(tmp_path / "tokens.toml", token_entry("page"))
    (tmp_path / "signing.key").write_text("k" * 48)
    gateway = await start(tokens=str(file), signing_key=str(tmp_path / "signing.key"))
    told = await played(transport, gateway.addresses.http, contract, token_of("page"))
    check_told(told)
    assert told["created"] is None
