"""How much the HTTP front holds at most."""

from typing import NamedTuple


class HttpLimits(NamedTuple):
    """The limits of the front, apart from the account of memory.

    `body` bounds one body, in bytes. `requests` bounds the requests that have not been answered, those included that
    wait for a run, and event streams. A client that has read nothing of its answer for `unread_seconds` is dropped.
    """

    body: int = 64 << 20
    requests: int = 10_000
    unread_seconds: float = 60.0
