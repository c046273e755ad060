"""A gateway as a pytest fixture. Only this module imports pytest, which is not a dependency of the gateway.

    pytest_plugins = ["gateway.testing.pytest_plugin"]      # in conftest.py

Projects opt in by this line. As an entry point, the plugin would be loaded into every test run of every environment in
which the gateway is installed.
"""

from collections.abc import Iterator, Mapping

import pytest

from gateway import testing


@pytest.fixture
def gateway_components() -> Mapping[str, testing.ComponentFunction]:
    """The components of `in_memory_gateway`, by path: none, unless a test module or a conftest overrides it."""
    return {}


@pytest.fixture
def in_memory_gateway(
    gateway_components: Mapping[str, testing.ComponentFunction],
) -> Iterator[testing.InMemoryGateway]:
    """A gateway with the components of `gateway_components`, which ends with the test."""
    with testing.in_memory_gateway(gateway_components) as gateway:
        yield gateway
