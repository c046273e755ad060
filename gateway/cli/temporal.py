"""The commands about Temporal servers: `temporal setup`."""

import asyncio
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import App, Parameter

from gateway.cli.errors import CommandError, ExitCode, UsageError
from gateway.cli.forms import Form, form_of, print_either
from gateway.cli.given_settings import serve_settings
from gateway.cli.parameters import ConfigFile, duration
from gateway.core.json_text import quote

_DAY = 86_400.0

_AS_FOR_SERVE = "As for 'serve'."

app = App(name="temporal", help="Prepare a Temporal server for the runs of gateways.")


@dataclass(frozen=True, kw_only=True)
class EngineFlags:
    """The namespace, and what is shown to its server. What is not given comes from the settings."""

    runtime: Annotated[
        str | None,
        Parameter(
            name="--runtime",
            metavar="URL",
            help="The namespace: temporal://HOST:PORT/NAMESPACE, or temporals:// over TLS. That of the settings by "
            "default.",
        ),
    ] = None
    upstream_ca: Annotated[str | None, Parameter(name="--upstream-ca", metavar="FILE", help=_AS_FOR_SERVE)] = None
    upstream_cert: Annotated[str | None, Parameter(name="--upstream-cert", metavar="FILE", help=_AS_FOR_SERVE)] = None
    upstream_key: Annotated[str | None, Parameter(name="--upstream-key", metavar="FILE", help=_AS_FOR_SERVE)] = None
    upstream_token_file: Annotated[
        str | None, Parameter(name="--upstream-token-file", metavar="FILE", help=_AS_FOR_SERVE)
    ] = None


SetupTarget: TypeAlias = Annotated[EngineFlags | None, Parameter(name="*")]
"""The flags of a command that talks to a Temporal server; None if none of them is given."""


@app.command
def setup(
    *,
    engine: SetupTarget = None,
    retention: Annotated[
        float,
        Parameter(
            metavar="DURATION",
            converter=duration,
            allow_leading_hyphen=True,
            show_default=lambda _: "30d",
            help="How long the server keeps runs after their end, if the namespace is made now.",
        ),
    ] = 30 * _DAY,
    config_file: ConfigFile = None,
    form: Form = None,
) -> None:
    """Make the namespace and its search attributes, if they are not there, and wait until they can be used.

    'serve' does so by itself where the server lets it. Done again, it changes nothing.
    """
    chosen = form_of(form)
    if not retention >= _DAY:
        raise UsageError("--retention: a Temporal server keeps what has ended for a day at least")
    settings = _settings(asdict(engine or EngineFlags()), config_file)
    name, made, added = _set_up(settings, retention)
    value = (
        f'{{"namespace":{quote(name)},"made":{str(made).lower()},"searchAttributes":[{",".join(map(quote, added))}]}}'
    )
    lines = [
        f"namespace {name}: {'made' if made else 'was there'}",
        f"search attributes: {', '.join(added) if added else 'were there'}",
    ]
    print_either(chosen, value, "\n".join(lines))


def _set_up(settings: Any, retention: float) -> tuple[str, bool, tuple[str, ...]]:
    """Return the name of the namespace, whether it was made, and which search attributes were added."""
    from gateway.runtimes.temporal.address import TemporalAddress
    from gateway.server.settings import StartError
    from gateway.server.temporal_sdk import check_sdk
    from gateway.server.tls_checks import upstream_credentials

    try:
        check_sdk()
        credentials = upstream_credentials(settings)
    except StartError as error:
        raise CommandError(str(error)) from None
    from gateway.runtimes.temporal.operator_setup import SetupFailed, set_up_once

    address = TemporalAddress.parse(settings.runtime)
    # What would be a line of the log of a gateway is the error of the command here.
    logging.getLogger("gateway").addHandler(logging.NullHandler())
    try:
        done = asyncio.run(set_up_once(address, credentials, retention))
    except SetupFailed as error:
        raise CommandError(f"{address}: {error}", ExitCode.UNAVAILABLE if error.away else ExitCode.ERROR) from None
    return address.namespace, done.namespace, done.search_attributes


def _settings(flags: dict[str, Any], config_file: Path | None) -> Any:
    """The settings of a gateway on the server. Raises UsageError if they are of another one, or not valid."""
    from gateway.server.setting_forms import RuntimeKind

    settings = serve_settings(flags, config_file)
    if settings.runtime_kind is not RuntimeKind.TEMPORAL:
        raise UsageError(f"runtime: expected temporal://HOST:PORT/NAMESPACE, got {settings.runtime!r}")
    return settings
