"""The command that asks a gateway on this machine how it is, for what looks after containers: `health`."""

import http.client
import os
import re
import ssl
from typing import Annotated, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from gateway.cli.errors import CommandError, ExitCode, UsageError
from gateway.cli.lines import print_line, printable
from gateway.cli.parameters import duration, unless_empty
from gateway.cli.unix_http import UnixConnection
from gateway.core.addresses import check_address
from gateway.core.steering import without_steering

DEFAULT_HTTP_ADDRESS: Final = "127.0.0.1:8080"

CERTIFICATE_VARIABLE: Final = "RUNS_GATEWAY_TLS_CERT"
"""The setting that turns TLS on."""

_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
"""Where a gateway is reached on this machine that listens on all addresses."""

_LONGEST: Final = 64 << 10


def health(
    probe: Annotated[Literal["readyz", "livez", "startupz"], Parameter(help="What to ask.")] = "readyz",
    /,
    *,
    http_address: Annotated[
        str,
        Parameter(
            env_var="RUNS_GATEWAY_HTTP_ADDRESS",
            env_var_split=unless_empty,
            help="Where the gateway or bridge serves HTTP: HOST:PORT or unix:/PATH.",
        ),
    ] = DEFAULT_HTTP_ADDRESS,
    tls: Annotated[
        bool, Parameter(help=f"HTTP is over TLS, as it is by default where {CERTIFICATE_VARIABLE} is set.")
    ] = False,
    timeout: Annotated[
        float, Parameter(converter=duration, validator=Number(gt=0), metavar="DURATION", help="How long it may take.")
    ] = 5.0,
) -> None:
    """Ask a gateway or bridge on this machine how it is; the exit code is 0 if it is well, and 4 otherwise.

    It reads the settings of the gateway in the environment, so that containers need no flags. The certificate is not
    verified.
    """
    try:
        check_address(http_address)
    except ValueError as error:
        raise UsageError(f"--http-address: {error}") from None
    connection = _connection(http_address, timeout, tls=tls or bool(os.environ.get(CERTIFICATE_VARIABLE)))
    try:
        connection.request("GET", f"/{probe}?verbose", headers={"Host": "localhost", "Connection": "close"})
        with connection.getresponse() as response:
            told = response.read(_LONGEST).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(f"no answer at {http_address}: {_words(error)}", ExitCode.UNAVAILABLE) from None
    finally:
        connection.close()
    print_line(_good_news(told, response.status, probe, http_address))


def _good_news(told: str, status: int, probe: str, address: str) -> str:
    """What an answer tells, if all is well. Raises CommandError if it is not, or if the answer is none of a gateway."""
    well = status == http.HTTPStatus.OK
    if not re.fullmatch(rf"(\[[+-]\].*\n)*{probe} check {'passed' if well else 'failed'}", told):
        raise CommandError(f"what answers at {address} is no gateway: HTTP {status}", ExitCode.UNAVAILABLE)
    if not well:
        raise CommandError(printable(told), ExitCode.UNAVAILABLE)
    return without_steering(told, layout=True)


def _connection(address: str, timeout: float, *, tls: bool) -> http.client.HTTPConnection:
    if address.startswith("unix:"):
        return UnixConnection(address.removeprefix("unix:"), timeout)
    host, _, port = address.rpartition(":")
    host = _ANY_HOST.get(host, host).strip("[]")
    if not tls:
        return http.client.HTTPConnection(host, int(port), timeout=timeout)
    context = ssl.create_default_context()
    # It is the gateway of this machine, which has its certificate for other names.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, int(port), timeout=timeout, context=context)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
        return "what is there does not speak HTTP"  # Its words would show what a stranger sends.
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
