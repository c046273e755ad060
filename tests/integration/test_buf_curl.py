"""`buf curl` calls each method, over Connect, gRPC-Web and gRPC."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.integration.conftest import Start
from tests.support.identities import bearer, token_entry, token_of, write_tokens
from tests.support.left_run import left_run
from tests.support.web_packages import BUF, PROJECT, installed

FLOW: Final = {"json": '{"steps":[],"output":{"$input":"$"}}', "type": "BLOB_TYPE_FLOW"}
EXACT: Final = ["1152921504606846977", "1e400"]
NOT_FOUND: Final = 5
MANY: Final = 20_000
_SPACE: Final = re.compile(r"\s*")
MISSING: Final = "00000000-0000-7000-8000-000000000000"


class Curl(NamedTuple):
    """Calls over one protocol."""

    protocol: str
    address: str

    async def started(self, method: str) -> asyncio.subprocess.Process:
        """The program, which calls."""
        service = "BlobsService" if method.endswith("Blob") else "RunsService"
        options = ["--http2-prior-knowledge"] if self.protocol == "grpc" else []
        return await asyncio.create_subprocess_exec(
            *(str(BUF), "curl", "--schema", str(PROJECT / "protos"), "--protocol", self.protocol, *options),
            *("--header", f"authorization: {bearer(token_of('curl'))}", "--data", "@-"),
            f"http://{self.address}/runs.v1.{service}/{method}",
            cwd=PROJECT,
            start_new_session=True,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, method: str, *messages: object) -> tuple[int, list[Any]]:
        """The status of the program, and what it has printed: the answers, or the error."""
        process = await self.started(method)
        out, err = await process.communicate("\n".join(map(json.dumps, messages)).encode())
        assert process.returncode is not None
        return process.returncode, _values((err if process.returncode else out).decode())

    async def answers(self, method: str, *messages: object) -> list[Any]:
        status, values = await self.run(method, *messages)
        assert status == 0, values
        return values

    async def answer(self, method: str, *messages: object) -> Any:
        [value] = await self.answers(method, *messages)
        return value


def _values(text: str) -> list[Any]:
    """The JSON values that follow each other in a text."""
    values, place, decoder = [], 0, json.JSONDecoder()
    text = text.strip()
    while place < len(text):
        value, end = decoder.raw_decode(text, place)
        values.append(value)
        place = _SPACE.match(text, end).end()  # type: ignore[union-attr]
    return values


@pytest.fixture(params=["connect", "grpcweb", "grpc"])
async def curl(request: Any, start: Start, tmp_path: Path) -> Curl:
    installed()
    (tmp_path / "signing.key").write_text("k" * 48)
    file = write_tokens(tmp_path / "tokens.toml", token_entry("curl"))
    gateway = await start(tokens=str(file), signing_key=str(tmp_path / "signing.key"))
    return Curl(request.param, gateway.addresses.grpc if request.param == "grpc" else gateway.addresses.http)


def states(updates: Sequence[Any]) -> list[str]:
    return [update["run"]["status"] for update in updates]


async def test_each_method_is_called(curl: Curl) -> None:
    flow_id = (await curl.answer("PutBlob", FLOW))["blobId"]
    assert json.loads((await curl.answer("GetBlob", {"blobId": flow_id}))["json"]) == json.loads(FLOW["json"])
    request = {"flowId": flow_id, "inputs": [{"json": text} for text in EXACT], "wait": True}
    run = (await curl.answer("SubmitRun", request))["run"]
    assert [result["value"]["json"] for result in run["results"]] == EXACT
    parameters = {"parameters": {"flowId": flow_id, "wait": True}}
    rest = ({"inputs": [{"json": text}]} for text in EXACT)
    streamed = (await curl.answer("SubmitRunStream", parameters, *rest))["run"]
    assert [result["value"]["json"] for result in streamed["results"]] == EXACT
    run_id = {"runId": run["runId"]}
    updates = await curl.answers("GetRun", {**run_id, "wait": True, "includeResults": True})
    assert states(updates)[-1] == "RUN_STATE_SUCCESS"
    assert [result["value"]["json"] for update in updates for result in update["run"]["results"]] == EXACT
    assert len((await curl.answer("ListRuns", {}))["runs"]) == 2
    assert len((await curl.answer("ListItems", run_id))["items"]) == 2
    assert (await curl.answer("CancelRun", run_id))["run"]["status"] == "RUN_STATE_SUCCESS"
    assert (await curl.answers("CancelRuns", {"filter": {}}))[-1]["unchanged"] == "2"
    assert (await curl.answer("CreateToken", {"permissions": ["runs:read"]}))["token"]
    assert await curl.answer("DeleteRun", run_id) == {}
    assert (await curl.answers("DeleteRuns", {"filter": {}}))[-1]["deleted"] == "1"


async def test_runs_are_watched_where_streams_go_both_ways(curl: Curl) -> None:
    """The program asks for HTTP/2 before it opens such a stream, which is the gRPC address here."""
    message = {"add": {"runId": MISSING}}
    if curl.protocol == "grpc":
        assert (await curl.answer("WatchRuns", message))["error"]["code"] == NOT_FOUND
    else:
        status, _ = await curl.run("WatchRuns", message)
        assert status != 0


async def test_many_messages_go_each_way(curl: Curl) -> None:
    flow_id = (await curl.answer("PutBlob", FLOW))["blobId"]
    inputs = ({"inputs": [{"json": str(index)}]} for index in range(MANY))
    streamed = (await curl.answer("SubmitRunStream", {"parameters": {"flowId": flow_id}}, *inputs))["run"]
    updates = await curl.answers("GetRun", {"runId": streamed["runId"], "wait": True, "includeResults": True})
    texts = [result["value"]["json"] for update in updates for result in update["run"]["results"]]
    assert sorted(map(int, texts)) == list(range(MANY))
    if curl.protocol == "grpc":
        removals = ({"remove": f"00000000-0000-7000-8000-{number:012}"} for number in range(MANY))
        assert sum("ended" in message for message in await curl.answers("WatchRuns", *removals)) == MANY


@pytest.mark.parametrize("protocol", ["connect", "grpcweb", "grpc"])
async def test_a_run_goes_on_whose_follower_is_interrupted(start: Start, protocol: str) -> None:
    installed()
    async with left_run(start) as run:
        curl = Curl(protocol, run.grpc if protocol == "grpc" else run.address)
        process = await curl.started("GetRun")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"runId": run.run_id, "wait": True}).encode())
        process.stdin.close()
        assert await process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)  # As a terminal does: the program is the child of a script.
        await process.communicate()
        await run.is_left()
        await run.goes_on()


async def test_errors_have_their_details(curl: Curl) -> None:
    status, [error] = await curl.run("SubmitRun", {"flowId": "x", "inputs": [{"json": "1"}]})
    assert status != 0
    assert error["code"] == "invalid_argument"
    assert {"google.rpc.BadRequest", "google.rpc.ErrorInfo"} <= {detail["type"] for detail in error["details"]}
    status, [missing] = await curl.run("GetRun", {"runId": MISSING})
    assert (status != 0, missing["code"]) == (True, "not_found")
