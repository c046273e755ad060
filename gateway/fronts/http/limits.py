"""How much the HTTP front holds at most, and how long it waits for its clients."""

from typing import NamedTuple


class HttpLimits(NamedTuple):
    """The limits of the front, apart from the account of memory.

    `body` bounds one body, in bytes. `requests` bounds the requests that have not been answered, those included that
    wait for a run, and event streams. The others are seconds.
    """

    body: int = 64 << 20
    requests: int = 10_000
    connections: int = 10_000
    """How many connections may be open."""
    head_seconds: float = 10.0
    """How long the head of a request may take, from its first byte."""
    body_seconds: float = 30.0
    """How long a body may come no further."""
    idle_seconds: float = 75.0
    """How long a connection is kept that sends nothing."""
    half_closed_seconds: float = 1.0
    """How often to look whether a client that sends nothing more is still there for its answer."""
    linger_seconds: float = 10.0
    """How long the rest of a body is read after its refusal, so that the client can read the refusal."""
    silent_seconds: float = 2.0
    """How long nothing of it may come then, if nobody knows whether the client sends the rest."""
    unread_seconds: float = 60.0
    """How long a client may read nothing of its answer."""
    connection_age: float | None = None
    """About how long a connection takes requests, and a stream lasts; None: without end."""
    age_grace: float | None = None
    """How long requests may go on after that; None: without end."""
