"""A gateway for the tests of applications: real, in memory, with Python functions as its components.

    def double(number: int) -> int:
        return 2 * number

    with in_memory_gateway(components={"/python/double": double}) as gateway, gateway.client() as client:
        ...

Everything that is public is named here; the pytest fixture is in `gateway.testing.pytest_plugin`.
"""

from gateway.testing.functions import ComponentContext, ComponentFunction
from gateway.testing.gateway import InMemoryGateway, in_memory_gateway

__all__ = ["ComponentContext", "ComponentFunction", "InMemoryGateway", "in_memory_gateway"]
