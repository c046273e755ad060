"""What the engine is told when a component fails."""

import pytest
from google.protobuf.json_format import MessageToDict

from gateway.bridge.failure import CODES, task_error
from gateway.components import ComponentError
from gateway.runtimes.stepflow.results import ERROR_CODES
from stepflow.v1 import orchestrator_pb2 as wire


@pytest.mark.parametrize("code", [-32100, -32101, -32003, -32000, 7])
def test_a_code_of_its_own_is_a_failed_component(code: int) -> None:
    error = task_error(ComponentError(code, "boom", data='{"why":[1,null]}'))
    assert (error.code, error.message) == (wire.TASK_ERROR_CODE_COMPONENT_FAILED, "boom")
    assert MessageToDict(error.data) == {"code": code, "data": {"why": [1, None]}}


def test_a_server_that_is_lost_is_unreachable_whatever_its_code() -> None:
    for code in (-32302, -32300):
        error = task_error(ComponentError(code, "gone", unreachable=True))
        assert error.code == wire.TASK_ERROR_CODE_UNREACHABLE


@pytest.mark.parametrize("recurs", [False, True])
def test_a_way_that_has_failed_is_unreachable_unless_the_answer_would_recur(recurs: bool) -> None:
    code = wire.TASK_ERROR_CODE_COMPONENT_FAILED if recurs else wire.TASK_ERROR_CODE_UNREACHABLE
    assert task_error(ComponentError(-32303, "HTTP status", recurs=recurs)).code == code


@pytest.mark.parametrize("code", [-32001, -32102, -32103, -32300])
def test_codes_come_back_as_they_were(code: int) -> None:
    assert ERROR_CODES[CODES[code]] == code


def test_data_that_no_message_can_hold_is_left_out() -> None:
    deep = "[" * 200 + "]" * 200
    assert MessageToDict(task_error(ComponentError(-32100, "boom", data=deep)).data) == {"code": -32100}
