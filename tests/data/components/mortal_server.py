"""A component server without an SDK that can be told to die, to be silent, and to start processes that outlive it.

Each execution is a line of the file that the first argument names: the component and the attempt. Further arguments say
how it begins: `silent` accepts and does not answer, `ipv6` listens on ::1 only, `mute` prints no port, `late` prints it
when there is a file for the executions.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CALLS, HOW = Path(sys.argv[1]), sys.argv[2:]
CONTROL = b"\x1b[31mred\x1b[0m caf\xe9 \xff\n"
HOLDER = "import socket, time\ns = socket.create_connection(('127.0.0.1', {port}))\ntime.sleep(3600)"
DAEMON = "import os\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"


def execute(component, value, attempt):
    with CALLS.open("a") as calls:
        calls.write(f"{component} {attempt}\n")
    if component == "/die":
        for number in range(30):
            sys.stderr.write(f"last words {number}\n")
        sys.stderr.flush()
        os._exit(3)
    if component == "/die_at_first" and attempt <= value:
        os.kill(os.getpid(), signal.SIGKILL)
    if component == "/deaf" and attempt == 1:
        server.socket.close()  # The process lives, and takes no connections.
        hang_up()
    if component == "/hang" and attempt <= value:
        threading.Event().wait()
    if component == "/huge":
        return "x" * value
    if component == "/garbage":
        raise Garbage(value)
    if component == "/speak":
        sys.stderr.buffer.write(CONTROL)
        sys.stderr.flush()
        sys.stdout.write("said on stdout\n")
        sys.stdout.flush()
    if component == "/flood":
        sys.stderr.write("".join(f"line {number}\n" for number in range(value)) + "x" * 100_000 + "\n")
        sys.stderr.flush()
    if component == "/hold":  # This process, a child, and one that has left its group and its parent hold connections.
        held.append(socket.create_connection(("127.0.0.1", value)))
        holder = HOLDER.format(port=value)
        subprocess.Popen([sys.executable, "-c", holder])
        subprocess.run([sys.executable, "-c", DAEMON + holder], check=True)
    return attempt


class HangUp(Exception):
    pass


class Garbage(Exception):
    """An answer that is not JSON-RPC, with this HTTP status."""


def hang_up():
    raise HangUp


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.respond(200, {"status": "healthy"})

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if message["method"] == "initialized":
            self.respond(202, "")
        elif message["method"] == "components/execute":
            params = message["params"]
            try:
                output = execute(params["component"], params["input"], params["attempt"])
            except HangUp:
                self.close_connection = True
                return
            except Garbage as garbage:
                self.respond(garbage.args[0], "garbage")
                return
            self.result(message, {"output": output})
        elif message["method"] == "initialize":
            self.result(message, {"capabilities": message["params"]["capabilities"]})
        else:
            names = "/die", "/die_at_first", "/deaf", "/hang", "/speak", "/flood", "/hold", "/huge", "/garbage", "/echo"
            self.result(message, {"components": [{"component": name} for name in names]})

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


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    address_family = socket.AF_INET6 if "ipv6" in HOW else socket.AF_INET
    daemon_threads = True


held: list[socket.socket] = []
if "silent" in HOW:
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
else:
    server = Server(("::1" if "ipv6" in HOW else "127.0.0.1", 0), Handler)
    port = server.server_port
while "late" in HOW and not CALLS.exists():
    time.sleep(0.01)
if "mute" not in HOW:
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
if "silent" in HOW:
    threading.Event().wait()
else:
    try:
        server.serve_forever()
    except (OSError, ValueError):
        threading.Event().wait()
