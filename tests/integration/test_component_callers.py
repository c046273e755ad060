"""Component servers of a gateway with identities act for the owners of the runs that they execute, and as no more.

Released SDKs take part unmodified. They present nothing; where they ask by HTTP, a capability in the URL tells them.
"""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.client_tls import ClientTls
from gateway.core.errors import ComponentUnavailable
from gateway.peers.http.client import client_session
from tests.support import sdk
from tests.support.certificates import Certificates
from tests.support.command_line import CommandLine
from tests.support.component_server import Call, ComponentServer
from tests.support.identities import ALL_PERMISSIONS, bearer, token_entry, token_of, write_tokens

MODES = {"one process": (), "workers": ("--workers", "2")}
BLOB = {"data": {"some": "data"}, "blobType": "data"}


class Held:
    """A component server whose component `/hold` makes the requests of a test, until it is let go."""

    def __init__(self) -> None:
        self.url = ""
        self.began = asyncio.Queue[Call]()
        self.answers = asyncio.Queue[Any]()
        self.server = ComponentServer(self._script)

    @property
    def blobs(self) -> str:
        """The URL of the blob API that the server was told."""
        told = next(call for call in self.server.calls if call.message.get("method") == "initialize")
        return str(told.message["params"]["capabilities"]["blobApiUrl"])

    async def _script(self, call: Call) -> None:
        if call.message.get("method") == "components/execute":
            await call.stream()
            await self.began.put(call)
            await call.closed()
        else:
            if "method" not in call.message:
                await self.answers.put(call.message)
            await call.accept()


class Gateway:
    """A gateway with identities, as its clients see it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(self, name: str, method: str, params: dict[str, Any]) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"authorization": bearer(token_of(name))}
        async with self._session.post(self._url, json=body, headers=headers) as response:
            return await response.json()

    async def submit(self, name: str, component: str, value: Any, *, wait: bool = True) -> Any:
        step = {"id": "s", "component": component, "input": {"$input": "$"}}
        flow = {"steps": [step], "output": {"$step": "s"}}
        stored = await self.call(name, "blobs/put", {"data": flow, "blobType": "flow"})
        params = {"flowId": stored["result"]["blobId"], "inputs": [value], "wait": wait}
        async with asyncio.timeout(120):
            while "error" in (answer := await self.call(name, "runs/submit", params)):
                # Health names no components where there are identities: the server is still being introduced.
                assert answer["error"]["code"] == ComponentUnavailable.code
                await asyncio.sleep(0.05)
        return answer["result"]

    async def blob(self, method: str, url: str, body: object = None) -> tuple[int, Any]:
        async with self._session.request(method, url, json=body) as response:
            return response.status, await response.json()


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    held = Held()
    async with held.server.running() as held.url:
        yield held


@pytest.fixture(params=[*MODES, *(f"{name} over TLS" for name in MODES)])
async def gateway(request: pytest.FixtureRequest, tmp_path: Path, held: Held) -> AsyncIterator[Gateway]:
    mode, _, tls = request.param.partition(" over ")
    authority = Certificates(tmp_path) if tls else None
    async with serving(tmp_path, f"/hold={held.url}", *MODES[mode], authority=authority) as gateway:
        yield gateway


@asynccontextmanager
async def serving(
    home: Path, component: str, *arguments: str, authority: Certificates | None = None
) -> AsyncIterator[Gateway]:
    tokens = write_tokens(
        home / "tokens.toml",
        token_entry("alice", ALL_PERMISSIONS, ["team-a"]),
        token_entry("bob", ALL_PERMISSIONS, ["team-b"]),
        token_entry("submitter", ["runs:submit", "blobs:write"], ["team-a"]),
    )
    settings = ("--state", ":memory:", "--tokens", str(tokens), "--component", component)
    tls = None if authority is None else ClientTls(authority.ca)
    if authority is not None:
        files = authority.server()
        arguments = (*arguments, "--tls-cert", files.cert, "--tls-key", files.key)
    async with (
        CommandLine(home).serving(*settings, *arguments, env={"TMPDIR": str(home)}) as serving,
        client_session(idle_seconds=10.0, tls=tls) as session,
    ):
        yield Gateway(session, serving.http)


async def test_a_capability_is_good_for_the_namespaces_of_open_executions(gateway: Gateway, held: Held) -> None:
    await gateway.submit("alice", "/hold/echo", 1, wait=False)
    execution = await held.began.get()
    assert "/c/" in held.blobs
    status, stored = await gateway.blob("POST", held.blobs, BLOB)
    assert status == 200
    blob_id = stored["blobId"]
    assert (await gateway.blob("GET", f"{held.blobs}/{blob_id}"))[0] == 200
    assert "result" in await gateway.call("alice", "blobs/get", {"blobId": blob_id})
    assert (await gateway.call("bob", "blobs/get", {"blobId": blob_id}))["error"]["code"] == -32005
    secret = await gateway.call("bob", "blobs/put", {"data": "of bob", "blobType": "data"})
    assert (await gateway.blob("GET", f"{held.blobs}/{secret['result']['blobId']}"))[0] == 404
    await execution.output(1)
    await execution.chunk(b"")
    run = await gateway.call("alice", "runs/list", {})
    await gateway.call("alice", "runs/get", {"runId": run["result"]["runs"][0]["runId"], "wait": True})
    assert (await gateway.blob("GET", f"{held.blobs}/{blob_id}"))[0] == 404
    assert (await gateway.blob("POST", held.blobs, BLOB))[0] == 404


async def test_a_capability_is_good_for_nothing_else(gateway: Gateway, held: Held) -> None:
    await gateway.submit("alice", "/hold/echo", 1, wait=False)
    await held.began.get()
    root = held.blobs.removesuffix("/api/v1/blobs")
    body = {"jsonrpc": "2.0", "id": 1, "method": "runs/list", "params": {}}
    assert (await gateway.blob("POST", f"{root}/", body))[0] in (403, 404)  # Beside TLS, there are blobs alone.
    name, _, mac = root.rpartition("/")[2].partition(".")
    for forged in (f"{name}.{mac[::-1]}", name, f"{mac}.{name}", ".", f"{name}.", "x" * 2_000):
        url = f"{root.rpartition('/')[0]}/{forged}/api/v1/blobs"
        assert (await gateway.blob("POST", url, BLOB))[0] == 401


async def test_a_submitter_without_a_permission_has_no_component_with_it(gateway: Gateway, held: Held) -> None:
    await gateway.submit("submitter", "/hold/echo", 1, wait=False)
    execution = await held.began.get()
    status, stored = await gateway.blob("POST", held.blobs, BLOB)
    assert status == 200
    assert (await gateway.blob("GET", f"{held.blobs}/{stored['blobId']}"))[0] == 404
    await execution.event({"jsonrpc": "2.0", "id": "q", "method": "runs/list", "params": {}})
    answer = await held.answers.get()
    assert answer["error"]["code"] == -32017
    assert "runs:read" in answer["error"]["message"]


async def test_a_callback_acts_for_the_owner_of_its_run(gateway: Gateway, held: Held) -> None:
    mine = await gateway.submit("alice", "/hold/echo", 1, wait=False)
    await held.began.get()
    other = await gateway.submit("bob", "/hold/echo", 1, wait=False)
    execution = await held.began.get()
    await execution.event({"jsonrpc": "2.0", "id": "list", "method": "runs/list", "params": {}})
    listed = await held.answers.get()
    assert [run["runId"] for run in listed["result"]["runs"]] == [other["runId"]]
    await execution.event({"jsonrpc": "2.0", "id": "get", "method": "runs/get", "params": {"runId": mine["runId"]}})
    assert (await held.answers.get())["error"]["code"] == -32000


@pytest.mark.parametrize(
    ("version", "mode"), [*((version, "one process") for version in sdk.VERSIONS), (sdk.VERSIONS[0], "workers")]
)
async def test_released_sdks_store_blobs_and_submit_runs(
    tmp_path: Path, sdk_python: Callable[[str], Path], version: str, mode: str
) -> None:
    command = shlex.join([str(sdk_python(version)), str(sdk.SERVER)])
    async with serving(tmp_path, f"/sdk={command}", *MODES[mode]) as gateway:
        run = await gateway.submit("alice", "/sdk/blobs", {"data": {"of": version}})
        value = run["results"][0]["result"]
        assert json.loads(json.dumps(value))["result"]["data"] == {"of": version}
        blob_id = value["result"]["blob_id"]
        assert "result" in await gateway.call("alice", "blobs/get", {"blobId": f"sha256:{blob_id}"})
        assert "error" in await gateway.call("bob", "blobs/get", {"blobId": f"sha256:{blob_id}"})
        double = {"id": "d", "component": "/sdk/double", "input": {"$input": "$"}}
        nested = {"flow": {"steps": [double], "output": {"$step": "d"}}, "items": [{"n": 1}]}
        run = await gateway.submit("alice", "/sdk/orchestrator", nested)
        assert run["status"] == "success", run
        listed = await gateway.call("alice", "runs/list", {})
        assert len(listed["result"]["runs"]) >= 3
        assert (await gateway.call("bob", "runs/list", {}))["result"]["runs"] == []
