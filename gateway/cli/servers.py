"""The commands that serve: `serve` and `bridge`."""

from typing import Any

from gateway.cli.parameters import AsJson, ConfigFile
from gateway.cli.setting_flags import given, takes_settings
from gateway.server.settings import BridgeSettings, ServeSettings


@takes_settings(ServeSettings)
def serve(*, config_file: ConfigFile = None, as_json: AsJson = False, **flags: Any) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Each setting can also be given in the environment, as RUNS_GATEWAY_ and its name in capitals, and in a file. A flag
    counts more than the environment, and the environment more than the file.
    """
    # The other commands do not need the server, and would take longer to import it than to do their work.
    from gateway.cli import serving

    serving.serve(given(ServeSettings, flags), config_file, as_json=as_json)


@takes_settings(BridgeSettings)
def bridge(*, config_file: ConfigFile = None, as_json: AsJson = False, **flags: Any) -> None:
    """Execute the tasks of a Stepflow engine on JSON-RPC component servers, until SIGTERM or Ctrl-C.

    For engines of release 0.12 and later, whose own components pull tasks over gRPC. Settings come from flags, the
    environment and a file, as for 'serve'. The first signal lets the bridge finish what it has begun, a second one
    ends it at once.
    """
    from gateway.cli import serving

    serving.bridge(given(BridgeSettings, flags), config_file, as_json=as_json)
