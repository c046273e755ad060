"""The command line: `runs-gateway`. Importing it is cheap, so that Ctrl-C is taken before anything else is loaded."""

import os
import time

from gateway.cli.interrupts import exit_on_interrupt

__all__ = ["main"]

# Read when grpc is imported. What fails, the commands say in one line; grpc's own log would come on top of it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# grpc, by default, starts its threads anew in each process that is forked. Here, such a process becomes a component
# server or a worker at once, unless one of these threads aborts it before.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


def main() -> None:
    """The console script: run the command line and exit."""
    exit_on_interrupt()
    try:
        time.time()
    except OverflowError:  # The interpreter cannot tell such a time.
        raise SystemExit("error: the clock is wrong: it has to be set to a year from 1970 to 2262") from None
    from gateway.cli.program import run_and_exit

    run_and_exit()
