"""Attacks by documents that cost much to read."""

import http.client as http_client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import takewhile
from typing import Final

from benchmarks.abuse.wire import CALL_PATIENCE, JSON_HEADERS, Caller, call_at_once, outcome_of
from gateway.adapter.params_json import resume_token_to_text
from gateway.core.model import ResultOrder
from gateway.core.position import Position, ResumePoint

MIB = 1 << 20

_LINE: Final = 1 << 16
"""How much of a line is read at once."""


def deep_path(grpc: str, http: str, seconds: float) -> str:
    """A path of 450 steps into 8 MB that are nested 450 deep."""
    caller = Caller(http)
    flow_id = caller.put("flow", json.dumps({"output": {"$input": "$" + "[0]" * 450}}))
    nested = "[" * 450 + json.dumps("x" * (8 * MIB)) + "]" * 450
    return outcome_of(
        caller.call("runs/submit", f'{{"flowId":"{flow_id}","inputs":[{nested}],"wait":true}}') for _ in range(5)
    )


def deep_flow(grpc: str, http: str, seconds: float) -> str:
    """A flow of 40 MB below 95 arrays, and overrides of 8 MB below 90 objects."""
    caller = Caller(http)
    nested = "[" * 95 + json.dumps("$" + "x" * (40 * MIB)) + ',{"$input":"$"}' + "]" * 95
    stored = caller.call("blobs/put", f'{{"data":{{"output":{nested}}},"blobType":"flow"}}')
    step = {"id": "s", "component": "/builtin/get_blob", "input": {}}
    flow_id = caller.put("flow", json.dumps({"steps": [step], "output": {"$step": "s"}}))
    patch = '{"a":' * 90 + json.dumps("x" * (8 * MIB)) + "}" * 90
    overrides = f'{{"steps":{{"s":{{"value":{{"input":{patch}}}}}}}}}'
    params = f'{{"flowId":"{flow_id}","inputs":[1],"overrides":{overrides}}}'
    return outcome_of([stored, *(caller.call("runs/submit", params) for _ in range(3))])


def many_expressions(grpc: str, http: str, seconds: float) -> str:
    """A flow with 1,000,000 expressions, and one with as many mistakes; then the largest ones that are taken."""
    caller = Caller(http)
    responses = []
    lengths = []
    for part in ('{"$input":"$"}', '{"$in":1}'):
        for number in (1_000_000, 4 * MIB // (len(part) + 1) - 10):
            flow = f'{{"output":[{",".join([part] * number)}]}}'
            body = f'{{"jsonrpc":"2.0","id":1,"method":"blobs/put","params":{{"data":{flow},"blobType":"flow"}}}}'
            answer = caller.post(body)[1]
            lengths.append(len(answer))
            responses.append(json.loads(answer or '{"error":{"code":0}}'))
    return f"{outcome_of(responses)}; the longest answer has {max(lengths):,} bytes"


def copies(grpc: str, http: str, seconds: float) -> str:
    """A template of 60 copies of the input, with 64 inputs of 1 MB."""
    caller = Caller(http)
    flow_id = caller.put("flow", json.dumps({"output": [{"$input": "$"}] * 60}))
    text = json.dumps("x" * (MIB - 2))
    run = caller.call("runs/submit", f'{{"flowId":"{flow_id}","inputs":[{",".join([text] * 60)}]}}')
    if "error" in run:
        return outcome_of([run])
    params = json.dumps({"runId": run["result"]["runId"], "wait": True, "timeoutSecs": seconds})
    status = caller.call("runs/get", params).get("result", {})
    return f"the run is {status.get('status', 'not there')}, {status.get('items', {}).get('success')} of 60 items"


def many_inputs(grpc: str, http: str, seconds: float) -> str:
    """A submit of 8,000,000 inputs; meanwhile others submit theirs."""
    caller = Caller(http)
    flow_id = caller.put("flow", '{"output":{"$input":"$"}}')
    body = f'{{"flowId":"{flow_id}","inputs":[{",".join("1" * 8_000_000)}]}}'
    small = f'{{"flowId":"{flow_id}","inputs":[1],"wait":true}}'
    begun = time.monotonic()
    ended = call_at_once(http, "runs/submit", [body, *[small] * 20])
    return f"{ended}, all within {time.monotonic() - begun:.1f} s"


def forged_positions(grpc: str, http: str, seconds: float) -> str:
    """A run of 600,000 items, followed from 100 places that nobody has given; meanwhile a blob is read.

    Most of the time passes until the run has ended. A stream is left where its answer begins: that has all results.
    """
    caller = Caller(http)
    blob_id = caller.put("data", '"read me"')
    flow_id = caller.put("flow", '{"output":{"$input":"$"}}')
    run = caller.call("runs/submit", f'{{"flowId":"{flow_id}","inputs":[{",".join("1" * 600_000)}]}}')
    run_id = run["result"]["runId"]
    for _ in range(3):
        caller.call("runs/get", json.dumps({"runId": run_id, "wait": True, "timeoutSecs": seconds / 3}))
    params = [_followed(run_id, number) for number in range(100)]
    headers = {**JSON_HEADERS, "Accept": "text/event-stream"}

    def follow(text: str) -> int:
        connection = http_client.HTTPConnection(http, timeout=CALL_PATIENCE)
        body = f'{{"jsonrpc":"2.0","id":1,"method":"runs/get","params":{text}}}'
        connection.request("POST", "/", body, headers)
        with closing(connection), connection.getresponse() as response:
            events = iter(lambda: response.readline(_LINE), b"")
            return sum(line.startswith(b"data:") for line in takewhile(lambda line: b'"id":1' not in line, events))

    with ThreadPoolExecutor(20) as pool:
        following = pool.map(follow, params)
        begun = time.monotonic()
        read = outcome_of([caller.call("blobs/get", f'{{"blobId":"{blob_id}"}}')])
        took = time.monotonic() - begun
        return f"100 streams of {sum(following):,} events; meanwhile a blob was read in {took:.1f} s ({read})"


def _followed(run_id: str, number: int) -> str:
    """The parameters of a stream that goes on where nothing is left, by a token that nobody has given."""
    position = Position(ResultOrder.BY_INDEX, completion_offset=599_000 + number, indexes=number, sweep=600_000)
    token = resume_token_to_text(ResumePoint(position).token(run_id))
    return json.dumps({"runId": run_id, "wait": True, "includeResults": True, "resumeToken": token})
