"""The released Stepflow SDKs, whose component servers the tests run unmodified."""

from pathlib import Path

from tests.support.environments import environment

VERSIONS = ("0.11.2", "0.10.0", "0.9.2")
"""The last release of each dialect."""

SERVER = Path(__file__).parents[1] / "data/components/sdk_server.py"
"""A component server that runs on all of them."""


def interpreter(version: str) -> Path:
    """The Python interpreter of an environment with this version of the SDK."""
    return environment(f"sdk/{version}", f"stepflow-py[http]=={version}") / "bin/python"
