"""Fixtures for all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ("tests.support.session", "tests.support.time_limit", "tests.support.properties")


@pytest.fixture(scope="session")
def sdk_python() -> Callable[[str], Path]:
    """Gives the Python interpreter of an environment with a version of the Stepflow SDK."""
    from tests.support import sdk  # not before the plugins are there, which it imports

    return sdk.interpreter


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by their number: what was compressed has the time in it, and each process its own names of tests."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 8 else None
