"""The connection of a command to a gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.cli.errors import CommandError, ExitCode, UsageError
from gateway.cli.gateway_flags import GatewayFlags
from gateway.cli.trace_context import in_trace_of_environment
from gateway.core.errors import GatewayError
from gateway.core.tls_files import TlsFileError
from gateway.core.token_file import TokenFileError

if TYPE_CHECKING:
    # Imported where it is needed: it imports grpc, which takes longer than all the rest.
    from gateway.client import RunsClient
    from gateway.client.security import Security, SecurityOptions

RETRY_SECONDS = 60.0
"""For how many seconds a command that waits for a run looks for a gateway that has gone."""

_EXIT_CODES = {
    "INVALID_ARGUMENT": ExitCode.USAGE,
    "ALREADY_EXISTS": ExitCode.USAGE,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "UNAVAILABLE": ExitCode.UNAVAILABLE,
}


@contextmanager
def connect(gateway: GatewayFlags | None, *, retry_for: float | None = 0.0) -> "Iterator[RunsClient]":
    """Keep a connection to the gateway; a lost one is made again for `retry_for` seconds, or for ever.

    Raises UsageError if the address is not one or a file is of no use, and CommandError if a call fails in the block.
    """
    flags = (gateway or GatewayFlags()).checked()
    from gateway.client import RunsClient

    with _usable_flags():
        client = RunsClient(flags.address, timeout=None, retry_for=retry_for, **_options(flags))
    with client, in_trace_of_environment():
        try:
            yield client
        except GatewayError as error:
            raise CommandError(error.message, exit_code(error)) from None
        except TimeoutError as error:
            raise CommandError(str(error), ExitCode.UNAVAILABLE) from None


def security_of(gateway: GatewayFlags, address_flag: str) -> "Security":
    """How a command without a client shows itself. Raises UsageError as `connect` does, and names this flag."""
    flags = gateway.checked(address_flag)
    from gateway.client.security import Security

    with _usable_flags():
        return Security(flags.address, None, _options(flags))


@contextmanager
def _usable_flags() -> Iterator[None]:
    """Raises UsageError in place of what says that the flags are of no use."""
    from gateway.client.security import ExposedToken

    try:
        yield
    except TlsFileError as error:
        raise UsageError(f"--tls-{error.role}: {error}") from None
    except ExposedToken:
        raise UsageError(
            "a token is sent over TLS only, or within this machine: give --tls-ca, an address 'grpcs://HOST:PORT', or "
            "--insecure"
        ) from None
    except (TokenFileError, ValueError) as error:
        raise UsageError(str(error)) from None


def _options(flags: GatewayFlags) -> "SecurityOptions":
    return {
        "ca": flags.tls_ca,
        "cert": flags.tls_cert,
        "key": flags.tls_key,
        "token_file": flags.token_file,
        "token": flags.token,
        "namespace": flags.namespace,
        "insecure": flags.insecure,
    }


def exit_code(error: GatewayError) -> ExitCode:
    """The exit code of a command whose call has failed so."""
    return _EXIT_CODES.get(error.grpc_status, ExitCode.ERROR)
