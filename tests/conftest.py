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
