"""What component servers may cost."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Limits(NamedTuple):
    """Times in seconds, sizes in bytes."""

    connect_timeout: float = 30.0
    """To open a connection. Generous: a server that computes on its event loop accepts late."""
    handshake_timeout: float = 30.0
    """For each step of the handshake with a server."""
    start_timeout: float = 60.0
    """From spawning a server until it has announced its port and shaken hands."""
    stop_timeout: float = 3.0
    """From asking a spawned server to terminate until it is killed."""
    transport_retries: int = 3
    """How often a step is tried again whose server was lost, or could not be reached. The runtime does that."""
    execution_timeouts: Mapping[str, float] = MappingProxyType({})
    """For one execution of a component below a prefix, the longest that matches; none because it may run for hours."""
    delivery_timeout: float = 600.0
    """To deliver the answer to a request of a component, retries included."""
    message_size: int = 64 << 20
    """The largest message of a server."""
    pending_size: int = 256 << 20
    """All requests of one execution that are being served at once, with their answers until these are delivered, and
    one request more."""
    pending: int = 256
    """How many requests of one execution are served at once."""
    pending_in_all: int = 10_000
    """How many requests of all executions are served at once, and a few more of each: see `ComponentRequests`."""
    deliveries: int = 32
    """How many answers are delivered to one execution at once."""
    longest_pause: float = 30.0
    """Between the failed starts of a server, the pause doubling up to this."""


DEFAULT_LIMITS: Final = Limits()
