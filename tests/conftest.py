"""Fixtures for all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import sdk

pytest_plugins = ("tests.support.session", "tests.support.time_limit")


@pytest.fixture(scope="session")
def sdk_python() -> Callable[[str], Path]:
    """Gives the Python interpreter of an environment with a version of the Stepflow SDK."""
    return sdk.interpreter
