"""Parameters that several commands have."""

from typing import Annotated

from cyclopts import Parameter

from gateway.server.settings import ServeSettings

DEFAULT_ADDRESS = str(ServeSettings.model_fields["grpc_address"].default)

AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON, one value a line.")]
Address = Annotated[
    str, Parameter(name="--address", env_var="RUNS_GATEWAY_ADDRESS", help="The gRPC address: HOST:PORT or unix:/PATH.")
]
