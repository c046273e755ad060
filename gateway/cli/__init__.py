"""The command line: `runs-gateway`. Importing it is cheap, so that Ctrl-C is taken before anything else is loaded."""

import os

from gateway.cli.interrupts import exit_on_interrupt

__all__ = ["main"]

# What fails, the commands say in one line; grpc's own log would come on top of it. Read when grpc is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def main() -> None:
    """The console script: run the command line and exit."""
    exit_on_interrupt()
    from gateway.cli.program import run_and_exit

    run_and_exit()
