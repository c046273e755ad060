"""Attacks by valid flows that never end, or grow without end."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from benchmarks.abuse.wire import Caller

_ENDLESS: Final = 4294967295
_INNER: Final = {"output": {"next": {"$input": "$"}}}
_ITERATE: Final = {
    "steps": [
        {
            "id": "loop",
            "component": "/builtin/iterate",
            "input": {"flow": {"$literal": _INNER}, "initial_input": {"$input": "$"}, "max_iterations": _ENDLESS},
        }
    ],
    "output": {"$step": "loop"},
}


def iterate(grpc: str, http: str, seconds: float, inputs: int) -> str:
    """Items that iterate for ever, all at once; then others submit runs of their own."""
    caller = Caller(http)
    flow_id = caller.put("flow", json.dumps(_ITERATE))
    params = {"flowId": flow_id, "inputs": [1] * inputs, "maxConcurrency": inputs}
    caller.call("runs/submit", json.dumps(params))
    return f"another submit took {_longest_submit(http, seconds):.1f} s at most"


def retry(grpc: str, http: str, seconds: float) -> str:
    """3,000 parallel steps that fail at once and are to be retried for ever."""
    missing = {"blob_id": "0" * 64}
    on_error = {"action": "retry", "maxRetries": _ENDLESS}
    steps = [
        {"id": f"s{number}", "component": "/builtin/get_blob", "input": missing, "onError": on_error}
        for number in range(3000)
    ]
    flow = {"steps": steps, "output": [{"$step": step["id"]} for step in steps]}
    caller = Caller(http)
    flow_id = caller.put("flow", json.dumps(flow))
    caller.call("runs/submit", json.dumps({"flowId": flow_id, "inputs": [1]}))
    return f"another submit took {_longest_submit(http, seconds):.1f} s at most"


def evaluate_itself(grpc: str, http: str, seconds: float) -> str:
    """A flow that calls /builtin/eval with its own id."""
    arguments = {"flow_id": {"$input": "$.id"}, "input": {"$input": "$"}}
    flow = {"steps": [{"id": "s", "component": "/builtin/eval", "input": arguments}], "output": {"$step": "s"}}
    caller = Caller(http)
    flow_id = caller.put("flow", json.dumps(flow))
    inputs = [{"id": flow_id, "number": number} for number in range(64)]
    run = caller.call("runs/submit", json.dumps({"flowId": flow_id, "inputs": inputs}))
    return _ending(caller, run, seconds)


def map_itself(grpc: str, http: str, seconds: float) -> str:
    """A flow that maps itself over two copies of its input."""
    arguments = {"workflow": {"$input": "$"}, "items": [{"$input": "$"}, {"$input": "$"}]}
    flow = {"steps": [{"id": "s", "component": "/builtin/map", "input": arguments}], "output": {"$step": "s"}}
    caller = Caller(http)
    flow_id = caller.put("flow", json.dumps(flow))
    run = caller.call("runs/submit", json.dumps({"flowId": flow_id, "inputs": [flow]}))
    return _ending(caller, run, seconds)


def submit_itself(grpc: str, http: str, seconds: float, port: int) -> str:
    """A component, at a port that the gateway was told of, that submits a run of its own flow."""
    executions = 0
    flow = {"steps": [{"id": "s", "component": "/abuse/again", "input": {"$input": "$"}}], "output": {"$step": "s"}}

    class Component(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            nonlocal executions
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            result: dict[str, Any] = {}
            match request["method"]:
                case "initialize":
                    result = {"serverProtocolVersion": 1}
                case "components/list":
                    result = {"components": [{"component": "/again"}]}
                case "components/execute":
                    executions += 1
                    params = request["params"]
                    submitted = {"flowId": params["input"]["id"], "inputs": [params["input"]]}
                    submitted["observability"] = params["observability"]
                    result = {"output": Caller(http).call("runs/submit", json.dumps(submitted))}
            body = json.dumps({"jsonrpc": "2.0", "id": request.get("id"), "result": result}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Component)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    caller = Caller(http)
    flow_id = caller.put("flow", json.dumps(flow))
    caller.call("runs/submit", json.dumps({"flowId": flow_id, "inputs": [{"id": flow_id}]}))
    time.sleep(seconds)
    return f"{executions} executions"


def _longest_submit(http: str, seconds: float) -> float:
    """How long the longest of small submits took, made one after the other for some seconds."""
    caller = Caller(http)
    flow_id = caller.put("flow", '{"output":{"$input":"$"}}')
    longest, end = 0.0, time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        caller.call("runs/submit", f'{{"flowId":"{flow_id}","inputs":[1],"wait":true}}')
        longest = max(longest, time.monotonic() - begun)
        time.sleep(0.05)
    return longest


def _ending(caller: Caller, run: dict[str, Any], seconds: float) -> str:
    """How a run has ended within some seconds."""
    run_id = run["result"]["runId"]
    params = {"runId": run_id, "wait": True, "timeoutSecs": seconds}
    status = caller.call("runs/get", json.dumps(params)).get("result", {})
    return f"the run is {status.get('status', 'not there')}"
