"""The pytest plugin: its fixtures, and that only those who name it have it."""

import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import distribution

import pytest

from gateway.testing import ComponentFunction, InMemoryGateway
from gateway.testing.pytest_plugin import in_memory_gateway  # noqa: F401 - a plugin is named in a conftest only

FLOW = {"steps": [{"id": "s", "component": "/python/double", "input": {"$input": "$"}}], "output": {"$step": "s"}}


@pytest.fixture
def gateway_components() -> Mapping[str, ComponentFunction]:
    return {"/python/double": lambda number: 2 * number}


def test_the_fixture_is_a_gateway_with_these_components(in_memory_gateway: InMemoryGateway) -> None:  # noqa: F811
    with in_memory_gateway.client() as client:
        run = client.submit_and_wait(client.put_flow(FLOW), [21])
    assert [result.value for result in run.results or ()] == [42]


async def test_the_fixture_serves_asyncio_tests(in_memory_gateway: InMemoryGateway) -> None:  # noqa: F811
    async with in_memory_gateway.async_client() as client:
        run = await client.submit_and_wait(await client.put_flow(FLOW), [21])
    assert [result.value for result in run.results or ()] == [42]


def test_installing_the_gateway_changes_no_test_run() -> None:
    groups = {point.group for point in distribution("runs-gateway").entry_points}
    assert groups == {"console_scripts"}


def test_the_double_needs_no_pytest() -> None:
    program = "import gateway.testing, sys; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", program], check=False).returncode == 0
