"""Directories for sockets between the processes of one gateway."""

import os
import tempfile
from pathlib import Path

RUNTIME_SOCKET = "runtime.sock"
LINK_SOCKET = "link.sock"
"""The names of the sockets at which workers reach the runtime of their gateway: by gRPC, and by a link."""

COUNTERS = "counters"
"""The name of the file in which the workers count what callers do, beside the sockets."""

METRICS_SOCKET = "metrics"
"""The name of the socket at which the process with the runtime tells workers what all processes have counted."""

_LONGEST_PATH = 100
"""Bytes of the path of a socket: Linux takes 107, others 103."""

_LONGEST_NAME = len(f"/runs-gateway-12345678/{METRICS_SOCKET}.4194304")


def make_socket_directory() -> str:
    """Make a directory that only this user may enter, with a path that leaves room for the names of sockets.

    It is in the directory for temporary files, or if the path of that is too long, in one of the system's.
    """
    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) + _LONGEST_NAME <= _LONGEST_PATH:
        return tempfile.mkdtemp(prefix="runs-gateway-", dir=usual)
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    places = [place for place in (runtime, "/tmp", "/var/tmp") if Path(place).is_dir() and os.access(place, os.W_OK)]
    return tempfile.mkdtemp(prefix="runs-gateway-", dir=places[0] if places else usual)


def metrics_socket(directory: str, pid: int) -> str:
    """The path of the socket at which a worker tells what it has counted."""
    return f"{directory}/{METRICS_SOCKET}.{pid}"
