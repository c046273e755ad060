"""A component server without an SDK, whose components misbehave as processes do."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def execute(component, value):
    if component == "/echo":
        return value
    if component == "/environment":
        return dict(os.environ)
    if component == "/pid":
        return os.getpid()
    if component == "/crash":
        os._exit(value)
    if component == "/hang":
        threading.Event().wait()
    if component == "/noise":
        for stream in (sys.stdout, sys.stderr):
            stream.write("a line\n" + "x" * value + "\n")
            stream.flush()
        return None
    if component == "/stubborn":
        stubborn.set()
        return None
    if component == "/hold":  # a connection that ends when this process does
        held.append(socket.create_connection(("127.0.0.1", value)))
        return None
    if component == "/child":  # the same for a process of its own
        child = "import socket, time; s = socket.create_connection(('127.0.0.1', %d)); time.sleep(3600)"
        subprocess.Popen([sys.executable, "-c", child % value])
        return None
    raise LookupError(component)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.respond(200, {"status": "healthy"})

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if message["method"] == "initialized":
            self.respond(202, "")
        elif message["method"] == "components/execute":
            params = message["params"]
            self.result(message, {"output": execute(params["component"], params["input"])})
        else:
            self.result(message, {"components": []})

    def result(self, message, result):
        self.respond(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    def respond(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def terminate(number, frame):
    if not stubborn.is_set():
        sys.exit()


held: list[socket.socket] = []
stubborn = threading.Event()
signal.signal(signal.SIGTERM, terminate)


class Server(ThreadingHTTPServer):
    request_queue_size = 1024  # connections that come at once; those beyond it may be reset


server = Server(("127.0.0.1", 0), Handler)
server.daemon_threads = True
sys.stdout.write(json.dumps({"port": server.server_port}) + "\n")
sys.stdout.flush()
server.serve_forever()
