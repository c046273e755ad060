"""Attacks that make the gateway hold much: answers that nobody reads, bodies that never end, floods of streams."""

import json
import time
from contextlib import ExitStack, closing

from benchmarks.abuse.wire import Caller, Http2, call_at_once, outcome_of, post_head, raw_request
from gateway.adapter.blobs_proto import blob_to_get_request
from runs.v1 import runs_pb2

MIB = 1 << 20
_GET_BLOB = "/runs.v1.BlobsService/GetBlob"
_GET_RUN = "/runs.v1.RunsService/GetRun"
_UPLOAD = "/runs.v1.RunsService/SubmitRunStream"


def batch(grpc: str, http: str, seconds: float) -> str:
    """A batch of 1,000 calls that each get a blob of 1 MB, and one of blobs of 20 MB."""
    caller = Caller(http)
    lengths = []
    for size in (MIB, 20 * MIB):
        blob_id = caller.put("data", json.dumps("x" * size))
        call = f'{{"jsonrpc":"2.0","id":1,"method":"blobs/get","params":{{"blobId":"{blob_id}"}}}}'
        _, answer = caller.post(f"[{','.join([call] * 1000)}]")
        refusals = answer.count(b'"code":-320')
        lengths.append(f"{len(answer) // MIB} MiB with {refusals:,} refusals")
    return f"answers: {', '.join(lengths)}"


def unread_blobs(grpc: str, http: str, seconds: float) -> str:
    """60 clients that ask for a blob of 20 MB and do not read, and 60 that read it and stay."""
    caller = Caller(http)
    blob_id = caller.put("data", json.dumps("x" * (20 * MIB)))
    get = f'{{"jsonrpc":"2.0","id":1,"method":"blobs/get","params":{{"blobId":"{blob_id}"}}}}'
    body = get.encode()
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(closing(raw_request(http, post_head(len(body)) + body)))
        readers = [Caller(http) for _ in range(60)]
        for reader in readers:
            stack.callback(reader.close)
        statuses = [reader.post(body)[0] for reader in readers]
        time.sleep(seconds / 2)
        return f"{statuses.count(200)} of 60 readers were served"


def unread_grpc(grpc: str, http: str, seconds: float) -> str:
    """100 gRPC clients that ask for a blob of 30 MB with a window of 0."""
    caller = Caller(http)
    request = blob_to_get_request(caller.put("data", json.dumps("x" * (30 * MIB)))).SerializeToString()
    with ExitStack() as stack:
        for _ in range(100):
            client = Http2(grpc)
            stack.callback(client.close)
            client.open(_GET_BLOB, request)
        time.sleep(seconds)
        return outcome_of([caller.call("runs/submit", "{}")])


def unread_events(grpc: str, http: str, seconds: float) -> str:
    """300 event streams of a run with 64 results of 1 MB, none of them read."""
    caller = Caller(http)
    flow_id = caller.put("flow", '{"output":{"$input":"$"}}')
    text = json.dumps("x" * (MIB - 2))
    run_id = ""
    for _ in range(4):
        run = caller.call("runs/submit", f'{{"flowId":"{flow_id}","inputs":[{",".join([text] * 16)}],"wait":true}}')
        run_id = run.get("result", {}).get("runId", run_id)
    params = json.dumps({"runId": run_id, "wait": True, "includeResults": True})
    body = f'{{"jsonrpc":"2.0","id":1,"method":"runs/get","params":{params}}}'.encode()
    with ExitStack() as stack:
        for _ in range(300):
            head = post_head(len(body), "Accept: text/event-stream")
            stack.enter_context(closing(raw_request(http, head + body)))
        time.sleep(seconds)
    return f"of the run {run_id or 'that was refused'}"


def refused_submits(grpc: str, http: str, seconds: float) -> str:
    """60 submits of 30 MB, one after the other, each refused: the flow is unknown."""
    caller = Caller(http)
    params = f'{{"flowId":"{"0" * 64}","inputs":[{json.dumps("x" * (30 * MIB))}]}}'
    return outcome_of(caller.call("runs/submit", params) for _ in range(60))


def tiny_items(grpc: str, http: str, seconds: float) -> str:
    """Runs of 4,400,000 items of one character together, kept in memory."""
    caller = Caller(http)
    flow_id = caller.put("flow", '{"output":{"$input":"$"}}')
    params = f'{{"flowId":"{flow_id}","inputs":[{",".join("1" * 1_100_000)}],"wait":true,"timeoutSecs":15}}'
    return outcome_of(caller.call("runs/submit", params) for _ in range(4))


def open_uploads(grpc: str, http: str, seconds: float) -> str:
    """17 uploads over gRPC and 5 bodies over HTTP that never end; meanwhile others call."""
    part = runs_pb2.SubmitRunStreamRequest()
    part.parameters.flow_id = "0" * 64
    part.parameters.inputs.add(json=json.dumps("x" * (60 * MIB)))
    message = part.SerializeToString()
    with ExitStack() as stack:
        for _ in range(5):
            connection = raw_request(http, post_head(64 * MIB))
            stack.enter_context(closing(connection))
            connection.settimeout(5.0)
            try:
                connection.sendall(b" " * (60 * MIB))
            except OSError:
                continue
        for _ in range(17):
            client = Http2(grpc, window=1 << 20)
            stack.callback(client.close)
            try:
                client.open(_UPLOAD, message, end=False)
            except (TimeoutError, OSError):
                continue
        caller = Caller(http)
        flow_id = caller.put("flow", '{"output":{"$input":"$"}}')
        small = f'{{"flowId":"{flow_id}","inputs":[1],"wait":true}}'
        return f"meanwhile others: {call_at_once(http, 'runs/submit', [small] * 50)}"


def empty_streams(grpc: str, http: str, seconds: float) -> str:
    """One connection that opens streams, without a message, as fast as it can."""
    client = Http2(grpc)
    opened, end = 0, time.monotonic() + min(seconds, 5.0)
    try:
        while time.monotonic() < end:
            client.flood(_GET_RUN, 1000)
            opened += 1000
    except OSError:
        return f"the connection was closed after {opened:,} streams"
    finally:
        client.close()
    return f"{opened:,} streams were opened"
