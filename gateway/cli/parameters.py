"""Parameters that several commands have."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.server.settings import ServeSettings


def unless_empty(_: Any, value: str, **__: Any) -> list[str]:
    """Return the value of a variable in the environment; none if it is empty, as if it was not set."""
    return [value] if value else []


DEFAULT_ADDRESS = str(ServeSettings.model_fields["grpc_address"].default)

AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON, one value a line.")]
GatewayAddress = Annotated[
    str,
    Parameter(
        name="--address",
        env_var="RUNS_GATEWAY_ADDRESS",
        env_var_split=unless_empty,
        help="The gRPC address: HOST:PORT or unix:/PATH.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    Parameter(
        name="--config",
        env_var="RUNS_GATEWAY_CONFIG",
        env_var_split=unless_empty,
        help="A file of settings: .toml, .yaml or .yml.",
    ),
]
