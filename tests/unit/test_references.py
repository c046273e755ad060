"""The pages and tables that are made from the sources are what the sources say."""

import pytest

from gateway.client.outage import Outage
from gateway.core.errors import GatewayError
from tests.support import contract_reference, errors_table, jsonrpc_reference
from tests.support.environments import CACHE
from tests.support.programs import program
from tests.support.tables import with_table


def protoc() -> list[str]:
    """The compiler that `make generate` uses, or that of the machine."""
    python = CACHE / "codegen/bin/python"
    return [str(python), "-m", "grpc_tools.protoc"] if python.exists() else [program("protoc", "protobuf-compiler")]


def test_the_page_of_the_contract_is_that_of_the_protos() -> None:
    made = contract_reference.reference(contract_reference.descriptors(protoc()))
    assert contract_reference.DOCUMENT.read_text(encoding="utf-8") == made, (
        f"`make {contract_reference.TARGET}` writes it"
    )


def test_the_page_of_json_rpc_is_that_of_the_models() -> None:
    document = jsonrpc_reference.DOCUMENT.read_text(encoding="utf-8")
    assert document == jsonrpc_reference.reference(), f"`make {jsonrpc_reference.TARGET}` writes it"


def test_the_page_of_errors_has_all_that_there_are() -> None:
    document = errors_table.DOCUMENT.read_text(encoding="utf-8")
    made = with_table(document, errors_table.TARGET, errors_table.tables())
    assert document == made, f"`make {errors_table.TARGET}` writes it anew"


@pytest.mark.parametrize("kind", errors_table.kinds(), ids=lambda kind: kind.reason)
def test_the_page_says_to_try_again_what_the_clients_try_again(kind: type[GatewayError]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, "of any message")
    error.retry_after = None
    try:
        Outage(60).pause(error)
        tried = True
    except GatewayError:
        tried = False
    assert errors_table.retry(kind).startswith("yes") == tried
