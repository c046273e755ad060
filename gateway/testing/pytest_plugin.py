"""A gateway as a pytest fixture. The only module that imports pytest, which the gateway does not depend on.

    pytest_plugins = ["gateway.testing.pytest_plugin"]      # in conftest.py

It is named by those who want it, and is no entry point: to install the gateway changes nobody's tests.
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
