"""Another client of the gateway: asks for its health again and again until its input ends, and prints what it took.

    python -m benchmarks.abuse.probe HOST:PORT

It prints one line of JSON: the numbers of answers and of failures, and the percentiles and the maximum in milliseconds.
"""

import json
import select
import socket
import sys
import time
from statistics import quantiles
from typing import Final

PAUSE: Final = 0.01
"""Seconds between an answer and the next question."""

PATIENCE: Final = 30.0
"""Seconds to wait for an answer. A failure counts as that long."""


def main(address: str) -> None:
    """Probe until the input ends."""
    host, _, port = address.rpartition(":")
    request = f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    taken: list[float] = []
    failures = 0
    connection: socket.socket | None = None
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        begun = time.monotonic()
        try:
            if connection is None:
                connection = socket.create_connection((host, int(port)), PATIENCE)
            connection.sendall(request)
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise OSError
            taken.append(time.monotonic() - begun)
        except OSError:
            failures += 1
            taken.append(PATIENCE)
            if connection is not None:
                connection.close()
            connection = None
    percentiles = quantiles(taken, n=100) if len(taken) > 1 else [*taken, *taken] * 50
    figures: dict[str, float] = {"answers": len(taken) - failures, "failures": failures}
    for name, seconds in (("p50", percentiles[49]), ("p99", percentiles[98]), ("max", max(taken, default=0.0))):
        figures[name] = round(1000 * seconds, 1)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
