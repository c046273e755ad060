"""Fixtures for all tests."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.s3_server import S3Server
    from tests.support.temporal_server import TemporalServer

pytest_plugins = (
    "tests.support.session",
    "tests.support.time_limit",
    "tests.support.properties",
    "tests.support.measured",
)


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory for sockets: the paths of the test run's own are too long."""
    with tempfile.TemporaryDirectory() as home:
        yield Path(home)


@pytest.fixture(scope="session")
def sdk_python() -> Callable[[str], Path]:
    """Gives the Python interpreter of an environment with a version of the Stepflow SDK."""
    from tests.support import sdk  # not before the plugins are there, which it imports

    return sdk.interpreter


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by their number: what was compressed has the time in it, and each process its own names of tests."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 8 else None


@pytest.fixture(scope="session")
def temporal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["TemporalServer"]:
    """A Temporal server that tests share which let it run: each takes a namespace of its own."""
    from tests.support.temporal_server import TemporalServer  # not before the plugins are there, which it imports

    server = TemporalServer(tmp_path_factory.mktemp("temporal"))
    server.launch()
    yield server
    server.end()


@pytest.fixture
def s3_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["S3Server"]:
    """A server of S3 that serves, and that this process finds."""
    from tests.support.s3_server import S3Server  # not before the plugins are there, which it imports

    server = S3Server(tmp_path)
    server.launch()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.kill()
