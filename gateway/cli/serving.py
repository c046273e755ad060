"""Runs the gateway for the command `serve`."""

import asyncio
import logging

import uvloop

from gateway import app
from gateway.cli import output
from gateway.cli.errors import CommandError, ExitCode
from gateway.config import ConfigError, ServeConfig


def serve(config: ServeConfig, *, as_json: bool) -> None:
    """Serve until a signal comes, and print where once the gateway is ready. CommandError if it cannot start."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    def ready(addresses: app.Addresses) -> None:
        http = addresses.http if addresses.http.startswith("unix:") else f"http://{addresses.http}"
        if as_json:
            output.print_json(output.object_json(grpc=addresses.grpc, http=http, state=config.state))
            return
        output.print_line(f"gRPC   {addresses.grpc}")
        output.print_line(f"HTTP   {http}")
        output.print_line(f"state  {config.state}")
        output.print_line("ready")

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(app.serve(config, ready))
    except ConfigError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None
    except app.StartError as error:
        raise CommandError(str(error)) from None
