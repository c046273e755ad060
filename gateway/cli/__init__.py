"""The command line: `runs-gateway`."""

import os

# What fails, the commands say in one line; grpc's own log would come on top of it. Read when grpc is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from gateway.cli.main import main

__all__ = ["main"]
