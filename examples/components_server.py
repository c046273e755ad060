"""A component server in plain Python: three components, called by JSON-RPC over HTTP.

The gateway starts it by command, reads the port from its first line of output, and posts `components/execute` to it.
Two components answer at once with JSON. `/thumbnails` calls back while it executes: it answers with a stream of
server-sent events, sends `blobs/put` and `runs/submit` on it, and receives the responses as new posts.
"""

import json
import queue
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Call = Callable[[str, dict[str, Any]], Any]
"""Calls a method of the gateway and returns its result."""

INSTANCE = str(uuid.uuid4())
"""Identifies this process, so that the gateway sends responses to the process that waits for them."""

pending: dict[str, "queue.Queue[dict[str, Any]]"] = {}
"""The queues for the responses to this server's own requests, by request id."""


def resize(photo: dict[str, Any]) -> dict[str, Any]:
    """Scale a photo to fit a box."""
    width, height, box = photo["width"], photo["height"], photo.get("box", 320)
    if width <= 0 or height <= 0:
        raise ValueError(f"{photo['name']} has no picture")
    time.sleep(0.3)  # stands for the work of decoding and scaling a picture
    scale = min(1, box / max(width, height))
    return {"name": photo["name"], "width": round(width * scale), "height": round(height * scale)}


def page(album: dict[str, Any]) -> dict[str, Any]:
    """Lay out the page of an album."""
    thumbnails = album["thumbnails"]
    height = sum(thumbnail["height"] for thumbnail in thumbnails)
    return {"title": album["title"], "photos": len(thumbnails), "height": height}


def thumbnails(album: dict[str, Any], call: Call) -> list[Any]:
    """Resize all photos of an album by a run of its own: one item for each photo, two at a time."""
    flow_id = call("blobs/put", {"data": album["resize_flow"], "blob_type": "flow"})["blob_id"]
    run = call(
        "runs/submit",
        {"flowId": flow_id, "inputs": album["photos"], "wait": True, "maxConcurrency": 2, "subflowKey": "0"},
    )
    failed = [
        entry["result"]["error"]["message"] for entry in run["results"] if entry["result"]["outcome"] != "success"
    ]
    if failed:
        raise ValueError("; ".join(failed))
    return [entry["result"]["value"] for entry in run["results"]]


class Handler(BaseHTTPRequestHandler):
    """One exchange with the gateway."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say that the server is up."""
        self._answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        """Take a request, a notification, or the response to a request of this server."""
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "method" not in message:
            pending[message["id"]].put(message)
            self._answer(202)
        elif "id" not in message:
            self._answer(202)
        elif message["method"] == "components/execute" and message["params"]["component"] == "/thumbnails":
            self._stream(message)
        else:
            self._answer(200, respond(message, None))

    def _answer(self, status: int, body: Any = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, message: dict[str, Any]) -> None:
        """Answer with events: this server's requests first, the response last."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("stepflow-instance-id", INSTANCE)
        self.send_header("connection", "close")
        self.end_headers()

        def send(event: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()

        def call(method: str, params: dict[str, Any]) -> Any:
            request_id = str(uuid.uuid4())
            pending[request_id] = queue.Queue()
            send({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
            response = pending[request_id].get()
            del pending[request_id]
            if "error" in response:
                raise ValueError(response["error"]["message"])
            return response["result"]

        send(respond(message, call))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is http.server's)
        """Keep quiet."""


def respond(message: dict[str, Any], call: Call | None) -> dict[str, Any]:
    """Make the response to a request of the gateway."""
    try:
        result = answer(message["method"], message.get("params") or {}, call)
    except (KeyError, TypeError, ValueError) as error:
        return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32100, "message": str(error)}}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def answer(method: str, params: dict[str, Any], call: Call | None) -> dict[str, Any]:
    """Execute one method of the component protocol."""
    if method == "initialize":
        return {"serverProtocolVersion": 1, "server_protocol_version": 1}
    if method == "components/list":
        return {"components": [{"component": path} for path in ("/resize", "/page", "/thumbnails")]}
    if method != "components/execute":
        raise ValueError(f"no method {method}")
    component, value = params["component"], params["input"]
    if component == "/thumbnails" and call is not None:
        return {"output": thumbnails(value, call)}
    return {"output": {"/resize": resize, "/page": page}[component](value)}


class Server(ThreadingHTTPServer):
    """Answers each exchange in a thread of its own."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        print(json.dumps({"port": server.server_port}), flush=True)
        server.serve_forever()
