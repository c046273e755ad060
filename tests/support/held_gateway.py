"""A gateway in this process whose component holds its calls until a test lets them through."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Unpack

from gateway.client import ObservabilityContext, RunsClient, SubmitOptions
from gateway.testing import in_memory_gateway

ECHO = {"name": "echo", "steps": [], "output": {"$input": "$"}}
HELD = {
    "name": "held",
    "steps": [{"id": "s", "component": "/held/echo", "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}


class HeldGateway:
    """`address` and `client` of the gateway, and the ids of two flows."""

    def __init__(self, address: str, client: RunsClient, release: threading.Event) -> None:
        self.address = address
        self.client = client
        self._release = release
        self.echo = client.put_flow(ECHO)
        self.held = client.put_flow(HELD)

    def submit_held(self, **options: Unpack[SubmitOptions]) -> str:
        """Submit a run whose items execute until they are let through; return its id."""
        return self.client.submit(self.held, [1, 2], **options).run_id

    def submit_inside(self, parent: str) -> str:
        """The same, submitted by a run that executes."""
        return self.submit_held(observability=ObservabilityContext(run_id=parent))

    def let_through(self) -> None:
        """Let all calls through from now on."""
        self._release.set()


@contextmanager
def held_gateway() -> Iterator[HeldGateway]:
    """Serve until the block is left."""
    release = threading.Event()

    def echo(value: Any) -> Any:
        release.wait()
        return value

    with in_memory_gateway(components={"/held/echo": echo}) as gateway, gateway.client() as client:
        try:
            yield HeldGateway(gateway.address, client, release)
        finally:
            release.set()
