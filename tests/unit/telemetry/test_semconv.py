import grpc
import pytest
from opentelemetry.semconv._incubating.attributes import jsonrpc_attributes, rpc_attributes
from opentelemetry.semconv.attributes import error_attributes, network_attributes, server_attributes

from gateway.telemetry import semconv
from gateway.telemetry.semconv import GRPC_CODES, SERVER_ERRORS, RpcNames

SUBMIT = "runs.v1.RunsService/SubmitRun"


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("", RpcNames(old=True, new=False)),
        ("http,database", RpcNames(old=True, new=False)),
        ("http, RPC", RpcNames(old=False, new=True)),
        ("rpc/dup", RpcNames(old=True, new=True)),
        ("rpc,rpc/dup", RpcNames(old=True, new=True)),
    ],
)
def test_the_names_are_those_that_are_asked_for(asked: str, names: RpcNames) -> None:
    assert RpcNames.asked_for(asked) == names


def test_a_call_over_grpc_has_old_names_or_new_ones() -> None:
    old, new, both = RpcNames(), RpcNames(old=False, new=True), RpcNames(old=True, new=True)
    of_old = {"rpc.system": "grpc", "rpc.service": "runs.v1.RunsService", "rpc.method": "SubmitRun"}
    of_new = {"rpc.system.name": "grpc", "rpc.method": SUBMIT}
    assert old.of_method("grpc", SUBMIT) == of_old
    assert new.of_method("grpc", SUBMIT) == of_new
    assert both.of_method("grpc", SUBMIT) == {**of_old, **of_new}
    assert old.of_method("grpc", semconv.OTHER_METHOD) == {"rpc.system": "grpc", "rpc.method": "_OTHER"}


def test_a_call_of_jsonrpc_has_old_names_or_new_ones() -> None:
    old, new = RpcNames(), RpcNames(old=False, new=True)
    assert old.of_method("jsonrpc", "runs/submit") == {
        "rpc.system": "jsonrpc",
        "rpc.method": "runs/submit",
        "rpc.jsonrpc.version": "2.0",
    }
    assert new.of_method("jsonrpc", "runs/submit") == {
        "rpc.system.name": "jsonrpc",
        "rpc.method": "runs/submit",
        "jsonrpc.protocol.version": "2.0",
    }
    assert old.of_request_id("7") == {rpc_attributes.RPC_JSONRPC_REQUEST_ID: "7"}
    assert new.of_request_id("7") == {jsonrpc_attributes.JSONRPC_REQUEST_ID: "7"}


def test_a_code_is_a_number_under_its_old_name_and_text_under_its_new_one() -> None:
    both = RpcNames(old=True, new=True)
    assert both.of_code("grpc", "NOT_FOUND") == {
        rpc_attributes.RPC_GRPC_STATUS_CODE: 5,
        rpc_attributes.RPC_RESPONSE_STATUS_CODE: "NOT_FOUND",
    }
    assert both.of_code("jsonrpc", "-32602") == {
        rpc_attributes.RPC_JSONRPC_ERROR_CODE: -32602,
        rpc_attributes.RPC_RESPONSE_STATUS_CODE: "-32602",
    }
    assert both.of_code("jsonrpc", "") == {}


def test_the_names_are_those_of_the_conventions() -> None:
    assert semconv.ERROR_TYPE == error_attributes.ERROR_TYPE
    assert semconv.PEER_ADDRESS == network_attributes.NETWORK_PEER_ADDRESS
    assert semconv.PEER_PORT == network_attributes.NETWORK_PEER_PORT
    assert semconv.SERVER_ADDRESS == server_attributes.SERVER_ADDRESS
    assert semconv.SERVER_PORT == server_attributes.SERVER_PORT
    both = RpcNames(old=True, new=True)
    known = {value for name, value in vars(rpc_attributes).items() if name.startswith("RPC_")}
    known |= {jsonrpc_attributes.JSONRPC_PROTOCOL_VERSION, jsonrpc_attributes.JSONRPC_REQUEST_ID}
    assert {*both.of_method("grpc", SUBMIT), *both.of_method("jsonrpc", "a")} <= known


def test_the_codes_are_those_of_grpc_in_their_order() -> None:
    assert [*GRPC_CODES] == [code.name for code in sorted(grpc.StatusCode, key=lambda each: each.value[0])]
    assert set(GRPC_CODES) >= SERVER_ERRORS
