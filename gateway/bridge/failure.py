"""Errors of components -> errors of tasks, as the engine takes them."""

from collections.abc import Mapping
from typing import Final

from gateway.adapter.values import text_to_value
from gateway.components import ComponentError
from stepflow.v1 import orchestrator_pb2 as wire

CODES: Final[Mapping[int, wire.TaskErrorCode.ValueType]] = {
    -32001: wire.TASK_ERROR_CODE_COMPONENT_NOT_FOUND,
    -32601: wire.TASK_ERROR_CODE_COMPONENT_NOT_FOUND,
    -32602: wire.TASK_ERROR_CODE_INVALID_INPUT,
    -32102: wire.TASK_ERROR_CODE_RESOURCE_UNAVAILABLE,
    -32103: wire.TASK_ERROR_CODE_INVALID_INPUT,
    -32300: wire.TASK_ERROR_CODE_TIMEOUT,
}
"""The engine's code for each code of the component protocol. All others become COMPONENT_FAILED.

The engine repeats a task that ended with UNREACHABLE or TIMEOUT three times by itself, so UNREACHABLE is also for a way
to the component that has failed otherwise, if another attempt may find it in order. It repeats one that ended with
COMPONENT_FAILED or RESOURCE_UNAVAILABLE as `onError` of the step says, and no other.
"""


def task_error(error: ComponentError) -> wire.TaskError:
    """Return the error of a task whose component failed.

    The engine keeps the code and the message. `data` holds the code and the data of the component, which is left out
    if a Value cannot hold it.
    """
    if error.unreachable or (error.may_pass and error.code not in CODES):
        code = wire.TASK_ERROR_CODE_UNREACHABLE
    else:
        code = CODES.get(error.code, wire.TASK_ERROR_CODE_COMPONENT_FAILED)
    result = wire.TaskError(code=code, message=error.message)
    result.data["code"] = error.code
    data = None if error.data is None else text_to_value(error.data)
    if data is not None:
        result.data.fields["data"].CopyFrom(data)
    return result


def refusal(code: wire.TaskErrorCode.ValueType, message: str) -> wire.TaskError:
    """Return the error of a task that the bridge itself refuses."""
    return wire.TaskError(code=code, message=message)
