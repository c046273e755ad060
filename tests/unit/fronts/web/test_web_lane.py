"""The methods of gRPC by Connect and gRPC-Web: answers, errors, streams, and what is refused."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from urllib.parse import unquote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from gateway.fronts.web.frames import frame
from runs.v1 import runs_pb2
from tests.support.scripted_runtime import MISSING_RUN
from tests.support.web_front import BLOBS, JSON, RUNS, STREAM, WebServer, framed, web_server

WEB = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
]
EXACT = ["1152921504606846977", "1e400", "0.10", '{"b":1,"a":-0.0}']


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    async with web_server() as server:
        yield server


def trailers_of(content: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in content.decode().splitlines())


# Answers


async def test_a_call_of_connect_is_answered_in_json(server: WebServer) -> None:
    run = await server.submit(*EXACT)
    assert run["status"] == "RUN_STATE_PENDING"
    assert run["items"]["total"] == "4"


async def test_numbers_stay_exact(server: WebServer) -> None:
    run = await server.submit("0")
    await server.runtime.succeed(0, EXACT[0])
    answer = await server.stream(f"{RUNS}/GetRun", {"runId": run["runId"], "includeResults": True, "wait": True})
    results = [result for message in answer.messages() for result in message.get("run", {}).get("results", [])]
    assert [result["value"]["json"] for result in results] == EXACT[:1]


async def test_a_call_of_connect_is_answered_in_protobuf(server: WebServer) -> None:
    request = runs_pb2.SubmitRunRequest(flow_id=await server.put_flow(), inputs=[runs_pb2.JsonValue(json="1")])
    answer = await server.post(f"{RUNS}/SubmitRun", request.SerializeToString(), Content_Type="application/proto")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/proto")
    assert runs_pb2.SubmitRunResponse.FromString(answer.body).run.items.total == 1


@pytest.mark.parametrize("kind", WEB)
async def test_a_call_of_grpc_web_is_answered(server: WebServer, kind: str) -> None:
    request = runs_pb2.SubmitRunRequest(flow_id=await server.put_flow(), inputs=[runs_pb2.JsonValue(json="1")])
    body = frame(request.SerializeToString())
    sent = base64.b64encode(body) if "text" in kind else body
    answer = await server.post(f"{RUNS}/SubmitRun", sent, Content_Type=kind)
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    (flags, message), (end, trailers) = answer.frames()
    assert (flags, end) == (0, 0x80)
    assert runs_pb2.SubmitRunResponse.FromString(message).run.items.total == 1
    assert trailers_of(trailers) == {"grpc-status": "0"}


@pytest.mark.parametrize("kind", WEB)
async def test_a_stream_of_grpc_web_is_answered(server: WebServer, kind: str) -> None:
    run = await server.submit("1")
    body = frame(runs_pb2.GetRunRequest(run_id=run["runId"]).SerializeToString())
    sent = base64.b64encode(body) if "text" in kind else body
    answer = await server.post(f"{RUNS}/GetRun", sent, Content_Type=kind)
    (_, message), (_, trailers) = answer.frames()
    assert runs_pb2.GetRunResponse.FromString(message).run.run_id == run["runId"]
    assert trailers_of(trailers)["grpc-status"] == "0"


async def test_a_long_answer_is_compressed_for_a_client_that_asks(server: WebServer) -> None:
    text = json.dumps("x" * 30_000)
    blob_id = (await server.call(f"{BLOBS}/PutBlob", {"json": text, "type": "BLOB_TYPE_DATA"})).json()["blobId"]
    for wanted, coding in (("gzip", "gzip"), ("identity", None)):
        answer = await server.call(f"{BLOBS}/GetBlob", {"blobId": blob_id}, Accept_Encoding=wanted)
        assert answer.headers.get("Content-Encoding") == coding
        assert answer.json()["json"] == text


# Streams


async def test_updates_come_as_they_happen(server: WebServer) -> None:
    run = await server.submit("1", "2")
    request = framed({"runId": run["runId"], "wait": True, "includeResults": True})
    async with server.session.post(server.url(f"{RUNS}/GetRun"), data=request, headers=STREAM) as response:
        seen = 0
        for number in range(2):
            await server.runtime.succeed(number, str(number))
            while seen <= number:
                head = await response.content.readexactly(5)
                update = json.loads(await response.content.readexactly(int.from_bytes(head[1:], "big")))
                seen += len(update["run"].get("results", []))
        rest = await response.content.read()
    assert rest.endswith(frame(b"{}", 0x02))


async def test_many_runs_are_followed_by_one_request(server: WebServer) -> None:
    runs = [(await server.submit("1"))["runId"] for _ in range(2)]
    answer = await server.stream(f"{RUNS}/WatchRuns", *({"add": {"runId": run}} for run in runs))
    updates = [message["runId"] for message in answer.messages() if message.get("update")]
    assert sorted(set(updates)) == sorted(runs)
    assert answer.messages()[-1] == {}


async def test_a_client_that_leaves_ends_its_stream(server: WebServer) -> None:
    run = await server.submit("1")
    request = framed({"runId": run["runId"], "wait": True})
    async with server.session.post(server.url(f"{RUNS}/GetRun"), data=request, headers=STREAM) as response:
        await response.content.readexactly(5)
        assert server.runtime.watching == 1
        response.close()
        async with asyncio.timeout(10):
            while server.runtime.watching or server.grpc.calls.number:  # noqa: ASYNC110
                await asyncio.sleep(0)


# Errors


async def test_errors_of_connect_have_their_details(server: WebServer) -> None:
    answer = await server.call(f"{RUNS}/SubmitRun", {"flowId": "x", "inputs": [{"json": "1"}]})
    assert answer.status == 400
    error = answer.json()
    assert error["code"] == "invalid_argument"
    details = {detail["type"]: base64.b64decode(detail["value"] + "==") for detail in error["details"]}
    told = error_details_pb2.BadRequest.FromString(details["google.rpc.BadRequest"])
    assert told.field_violations[0].field == "flow_id"
    assert "google.rpc.ErrorInfo" in details
    assert "jsonrpc.code" in str(error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"]))


async def test_errors_of_streams_come_at_their_end(server: WebServer) -> None:
    answer = await server.stream(f"{RUNS}/GetRun", {"runId": MISSING_RUN})
    assert answer.status == 200
    [(flags, content)] = answer.frames()
    assert flags == 0x02
    assert json.loads(content)["error"]["code"] == "not_found"


async def test_errors_of_grpc_web_are_trailers(server: WebServer) -> None:
    body = frame(runs_pb2.CancelRunRequest(run_id=MISSING_RUN).SerializeToString())
    answer = await server.post(f"{RUNS}/CancelRun", body, Content_Type="application/grpc-web+proto")
    [(_, content)] = answer.frames()
    trailers = trailers_of(content)
    assert trailers["grpc-status"] == str(grpc.StatusCode.NOT_FOUND.value[0])
    packed = status_pb2.Status.FromString(base64.b64decode(trailers["grpc-status-details-bin"] + "=="))
    assert packed.message == unquote(trailers["grpc-message"])


async def test_deadlines_end_calls(server: WebServer) -> None:
    # A stream of a run ends in order before its deadline; one of health has none of its own.
    answer = await server.stream("grpc.health.v1.Health/Watch", {}, Connect_Timeout_Ms="50")
    assert answer.messages()[-1]["error"]["code"] == "deadline_exceeded"
    web = await server.post(
        "grpc.health.v1.Health/Watch", frame(b""), Content_Type="application/grpc-web+proto", Grpc_Timeout="50m"
    )
    assert trailers_of(web.frames()[-1][1])["grpc-status"] == "4"


async def test_malformed_deadlines_are_refused(server: WebServer) -> None:
    answer = await server.call(f"{RUNS}/ListRuns", {}, Connect_Timeout_Ms="soon")
    assert answer.json()["code"] == "invalid_argument"


async def test_an_unknown_method_is_unimplemented(server: WebServer) -> None:
    answer = await server.call(f"{RUNS}/Absent", {})
    assert (answer.status, answer.json()["code"]) == (501, "unimplemented")
    web = await server.post(f"{RUNS}/Absent", frame(b""), Content_Type="application/grpc-web")
    assert trailers_of(web.frames()[0][1])["grpc-status"] == "12"
    elsewhere = await server.call("absent.v1.Service/Method", {})
    assert elsewhere.status == 404


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("SubmitRun", "text/plain"),
        ("SubmitRun", "application/connect+json"),
        ("SubmitRun", "application/json; charset=latin-1"),
        ("GetRun", "application/json"),
        ("GetRun", "application/x-www-form-urlencoded"),
    ],
)
async def test_other_content_types_are_refused(server: WebServer, path: str, kind: str) -> None:
    answer = await server.post(f"{RUNS}/{path}", b"{}", Content_Type=kind)
    assert answer.status == 415


async def test_a_later_version_of_connect_is_refused(server: WebServer) -> None:
    answer = await server.call(f"{RUNS}/ListRuns", {}, Connect_Protocol_Version="2")
    assert (answer.status, answer.json()["code"]) == (400, "invalid_argument")
    assert (await server.call(f"{RUNS}/ListRuns", {}, Connect_Protocol_Version="1")).status == 200


async def test_a_body_that_is_no_message_is_refused(server: WebServer) -> None:
    for body in (b"", b"{", b"[]", b"1", b'{"absent":1}', b'{"pageSize":1,"page_size":2}', b"\xff", b"[" * 100_000):
        answer = await server.post(f"{RUNS}/ListRuns", body, **JSON)
        assert (answer.status, answer.json()["code"]) == (400, "invalid_argument"), body[:30]


async def test_health_is_told_as_well(server: WebServer) -> None:
    answer = await server.call("grpc.health.v1.Health/Check", {})
    assert answer.json()["status"] in ("SERVING", "NOT_SERVING")
    listed = await server.call("grpc.health.v1.Health/List", {})
    assert {"", "runs.v1.RunsService"} <= {*listed.json()["statuses"]}


async def test_a_call_leaves_nothing_behind(server: WebServer) -> None:
    run = await server.submit("1")
    await server.stream(f"{RUNS}/GetRun", {"runId": run["runId"]})
    await server.stream(f"{RUNS}/GetRun", {"runId": MISSING_RUN})
    await server.call(f"{RUNS}/SubmitRun", {"flowId": "x"})
    assert not server.grpc.calls.number
    assert not server.grpc.calls._calls
