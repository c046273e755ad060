"""The examples of methods: each method has one, and it fits what the document says of the method."""

import pytest

from gateway.adapter.method_examples import EXAMPLES
from gateway.adapter.method_schemas import METHODS
from tests.support.openrpc import METHODS as DESCRIBED
from tests.support.openrpc import faults_of_answer, faults_of_params


def test_each_method_has_an_example() -> None:
    assert EXAMPLES.keys() == METHODS.keys() - {"rpc.discover"}


@pytest.mark.parametrize("method", EXAMPLES)
def test_an_example_fits_its_method(method: str) -> None:
    (example,) = DESCRIBED[method]["examples"]
    assert faults_of_params(method, {param["name"]: param["value"] for param in example["params"]}) == []
    assert faults_of_answer(method, {"result": example["result"]["value"]}) == []
