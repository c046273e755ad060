"""A gateway for the commands of a module, which find it by their environment."""

from collections.abc import Iterator

import pytest

from tests.support.held_gateway import HeldGateway, held_gateway


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldGateway]:
    with held_gateway() as gateway:
        monkeypatch.setenv("RUNS_GATEWAY_ADDRESS", gateway.address)
        yield gateway
