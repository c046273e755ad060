"""Flows that are checked without a runtime."""

import pytest

from gateway.core.errors import InvalidFlow, TooLarge
from gateway.flows.checked_flow import flow_id_of


async def test_spellings_of_a_flow_have_one_id() -> None:
    assert await flow_id_of('{"output": 1}') == await flow_id_of('{ "output" :\n1}')


async def test_a_flow_that_is_not_valid() -> None:
    with pytest.raises(InvalidFlow, match="neither 'steps' nor 'output'"):
        await flow_id_of("{}")


async def test_a_flow_that_is_too_long() -> None:
    with pytest.raises(TooLarge, match="flow: a flow of more than 10 bytes"):
        await flow_id_of('{"output": 123}', 10)
