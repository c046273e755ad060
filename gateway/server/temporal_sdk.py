"""Whether the SDK of Temporal is installed, which is an extra."""

from importlib.util import find_spec

from gateway.server.settings import StartError


def check_sdk() -> None:
    """Raise StartError unless the SDK is installed."""
    try:
        found = find_spec("temporalio")
    except ValueError:
        found = None
    if found is None:
        raise StartError(
            "a Temporal server needs the extra 'temporal': pip install 'runs-gateway[temporal]' (--runtime)"
        )
