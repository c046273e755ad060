"""How the failure of a component is told to the engine: which code, and what is left of the rest."""

from collections.abc import Mapping
from typing import Final

from google.protobuf import json_format

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
"""The engine's code for a code of the component protocol. Any other is COMPONENT_FAILED.

What the engine does about a code: it repeats UNREACHABLE and TIMEOUT three times by itself, COMPONENT_FAILED and
RESOURCE_UNAVAILABLE as `onError` of the step says, and all others never.
"""


def task_error(error: ComponentError) -> wire.TaskError:
    """The error of a task whose component failed. The engine keeps code and message; the rest is in `data`."""
    if error.unreachable:
        code = wire.TASK_ERROR_CODE_UNREACHABLE
    else:
        code = CODES.get(error.code, wire.TASK_ERROR_CODE_COMPONENT_FAILED)
    told = wire.TaskError(code=code, message=error.message)
    told.data["code"] = error.code
    if error.data is not None:
        try:
            json_format.Parse(error.data, told.data.fields["data"])
        except json_format.ParseError:
            del told.data.fields["data"]
    return told


def refusal(code: wire.TaskErrorCode.ValueType, message: str) -> wire.TaskError:
    """The error of a task that the bridge itself refuses."""
    return wire.TaskError(code=code, message=message)
