"""The connection of a command to a gateway."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.cli.errors import CommandError, ExitCode, UsageError
from gateway.cli.parameters import ADDRESS_VARIABLE
from gateway.core.addresses import check_address
from gateway.core.errors import GatewayError

if TYPE_CHECKING:
    # Imported where it is needed: it imports grpc, which takes longer than all the rest.
    from gateway.client import RunsClient

RETRY_SECONDS = 60.0
"""For how many seconds a command that waits for a run looks for a gateway that has gone."""

_EXIT_CODES = {
    "INVALID_ARGUMENT": ExitCode.USAGE,
    "ALREADY_EXISTS": ExitCode.USAGE,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "UNAVAILABLE": ExitCode.UNAVAILABLE,
}


@contextmanager
def connect(address: str, *, retry_for: float = 0.0) -> "Iterator[RunsClient]":
    """Keep a connection to the gateway; a lost one is made again for `retry_for` seconds.

    Raises UsageError if the address is not one, and CommandError if a call fails in the block.
    """
    _check(address)
    from gateway.client import RunsClient

    with RunsClient(address, timeout=None, retry_for=retry_for) as client:
        try:
            yield client
        except GatewayError as error:
            raise CommandError(error.message, exit_code(error)) from None
        except TimeoutError as error:
            raise CommandError(str(error), ExitCode.UNAVAILABLE) from None


def exit_code(error: GatewayError) -> ExitCode:
    """The exit code of a command whose call has failed so."""
    return _EXIT_CODES.get(error.grpc_status, ExitCode.ERROR)


def _check(address: str) -> None:
    name = ADDRESS_VARIABLE if address == os.environ.get(ADDRESS_VARIABLE) else "--address"
    try:
        check_address(address)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
    if address.endswith(":0"):
        raise UsageError(f"{name}: nothing can be reached at port 0, got {address!r}")
