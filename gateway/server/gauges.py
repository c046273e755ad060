"""What metrics read of the parts of a process: its memory, its connections and its event loop."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Final

from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.grpc import GrpcFront
from gateway.fronts.http.front import HttpFront
from gateway.server.loop_turns import measured_turns
from gateway.telemetry.gateway_metrics import CONNECTIONS, MEMORY, MEMORY_LIMIT

_NO_FRONTS: Final[Mapping[str, GrpcFront | HttpFront]] = MappingProxyType({})


@contextmanager
def gauged(account: MemoryAccount, fronts: Mapping[str, GrpcFront | HttpFront] = _NO_FRONTS) -> Iterator[None]:
    """Let metrics read an account, and the fronts that clients reach, by their names, while the block lasts."""
    with ExitStack() as stack:
        for use, cell in account.uses.items():
            stack.enter_context(MEMORY.read_from(partial(getattr, cell, "value"), use))
        stack.enter_context(MEMORY_LIMIT.read_from(lambda: account.limit))
        for name, front in fronts.items():
            stack.enter_context(CONNECTIONS.read_from(partial(getattr, front, "connections"), name))
        stack.enter_context(measured_turns())
        yield
