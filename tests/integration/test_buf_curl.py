"""`buf curl` calls each method, over Connect, gRPC-Web and gRPC."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.integration.conftest import Start
from tests.support.identities import bearer, token_entry, token_of, write_tokens
from tests.support.web_packages import BUF, PROJECT, installed

FLOW: Final = {"json": '{"steps":[],"output":{"$input":"$"}}', "type": "BLOB_TYPE_FLOW"}
EXACT: Final = ["1152921504606846977", "1e400"]
NOT_FOUND: Final = 5
MISSING: Final = "00000000-0000-7000-8000-000000000000"


class Curl(NamedTuple):
    """Calls over one protocol."""

    protocol: str
    address: str

    async def run(self, method: str, *messages: object) -> tuple[int, list[Any]]:
        """The status of the program, and what it has printed: the answers, or the error."""
        service = "BlobsService" if method.endswith("Blob") else "RunsService"
        options = ["--http2-prior-knowledge"] if self.protocol == "grpc" else []
        process = await asyncio.create_subprocess_exec(
            *(str(BUF), "curl", "--schema", str(PROJECT / "protos"), "--protocol", self.protocol, *options),
            *("--header", f"authorization: {bearer(token_of('curl'))}", "--data", "".join(map(json.dumps, messages))),
            f"http://{self.address}/runs.v1.{service}/{method}",
            cwd=PROJECT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
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
    while place < len(text.rstrip()):
        place += len(text) - place - len(text[place:].lstrip())
        value, place = decoder.raw_decode(text, place)
        values.append(value)
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


async def test_errors_have_their_details(curl: Curl) -> None:
    status, [error] = await curl.run("SubmitRun", {"flowId": "x", "inputs": [{"json": "1"}]})
    assert status != 0
    assert error["code"] == "invalid_argument"
    assert {"google.rpc.BadRequest", "google.rpc.ErrorInfo"} <= {detail["type"] for detail in error["details"]}
    status, [missing] = await curl.run("GetRun", {"runId": MISSING})
    assert (status != 0, missing["code"]) == (True, "not_found")
