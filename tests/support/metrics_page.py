"""A page of metrics with any text, as a gateway serves one: on a port, or on a unix socket."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class MetricsPage:
    """`url` is where the page is. `heads` has those of the requests that have come."""

    def __init__(self, text: str) -> None:
        self.url = ""
        self.text = text
        self.status = 200
        self.heads: list[dict[str, str]] = []


@contextmanager
def metrics_page(text: str, unix: Path | None = None) -> Iterator[MetricsPage]:
    """Serve the page until the block is left."""
    page = MetricsPage(text)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page.heads.append({**{name.lower(): value for name, value in self.headers.items()}, "path": self.path})
            body = page.text.encode()
            self.send_response(page.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return ""

    server: socketserver.ThreadingTCPServer | socketserver.ThreadingUnixStreamServer
    if unix is not None:
        server = socketserver.ThreadingUnixStreamServer(str(unix), Handler)
        page.url = f"unix:{unix}"
    else:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        page.url = f"http://127.0.0.1:{server.server_address[1]}/metrics"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield page
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
