"""A port of loopback for programs that cannot take a free one themselves."""

import socket


def free_port() -> int:
    """A port that nothing listened on a moment ago. Another program may take it before it is used."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
