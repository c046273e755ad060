"""The connection of a command to a gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.cli.errors import CommandError, ExitCode
from gateway.core.errors import GatewayError

if TYPE_CHECKING:
    # Imported where it is needed: it imports grpc, which takes longer than all the rest.
    from gateway.client import RunsClient

_EXIT_CODES = {
    "INVALID_ARGUMENT": ExitCode.USAGE,
    "ALREADY_EXISTS": ExitCode.USAGE,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "UNAVAILABLE": ExitCode.UNAVAILABLE,
}


@contextmanager
def connect(address: str, *, retry_for: float = 0.0) -> "Iterator[RunsClient]":
    """Keep a connection to the gateway; a lost one is made again for `retry_for` seconds.

    Raises CommandError if a call fails in the block.
    """
    from gateway.client import RunsClient

    with RunsClient(address, timeout=None, retry_for=retry_for) as client:
        try:
            yield client
        except GatewayError as error:
            raise CommandError(error.message, _EXIT_CODES.get(error.grpc_status, ExitCode.ERROR)) from None
