"""Flow documents: accepted or refused with violations, whatever they hold; their spelling makes no difference."""

import json
from typing import Any, Final

from hypothesis import strategies as st

from gateway.core.errors import InvalidFlow
from gateway.core.json_text import json_text
from gateway.core.model import ItemError
from gateway.flows.flow import Flow
from tests.fuzz.flow_calls import compiled, evaluated
from tests.fuzz.invariants import in_tree, respelled
from tests.fuzz.targets import expressions

INPUT: Final = '{"a":[1,{"b":null}],"c":"x"}'

_NAMES: Final = st.sampled_from(("a", "b", "c", "", "$step", "é"))
_ON_ERROR: Final = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(("fail", "retry", "useDefault", "none", 1)),
        "maxRetries": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        "defaultValue": expressions.VALUES,
    },
)
_STEPS: Final = st.fixed_dictionaries(
    {},
    optional={
        "id": _NAMES | st.integers(),
        "component": st.sampled_from(("/builtin/eval", "/x", "x", "", None)),
        "input": expressions.EXPRESSIONS,
        "onError": _ON_ERROR | st.none(),
        "mustExecute": st.booleans() | st.none() | st.integers(),
    },
)
_VARIABLES: Final = st.dictionaries(
    _NAMES, st.fixed_dictionaries({}, optional={"type": _NAMES, "default": expressions.VALUES}) | st.booleans()
)
_SCHEMAS: Final = st.fixed_dictionaries(
    {},
    optional={
        "properties": st.fixed_dictionaries(
            {"variables": st.fixed_dictionaries({}, optional={"properties": _VARIABLES, "required": st.lists(_NAMES)})}
        )
    },
)

DOCUMENTS: Final[st.SearchStrategy[bytes]] = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text() | st.none() | st.integers(),
        "steps": st.lists(_STEPS, max_size=4) | st.none(),
        "output": expressions.EXPRESSIONS,
        "schemas": _SCHEMAS,
        "unknown": expressions.VALUES,
    },
).map(lambda flow: json.dumps(flow).encode())


def check(data: bytes) -> None:
    """Compile the text, and the same flow in other spellings; run it if it needs no step."""
    with in_tree() as read:
        text = json_text(data)
    if read.refused:
        return
    flow = compiled(text)
    outcome = of(flow)
    for other in respelled(text):
        assert of(compiled(other)) == outcome, "a flow means something else in another spelling"


def of(flow: Flow | InvalidFlow) -> Any:
    """What can be observed of a flow, in any spelling."""
    if isinstance(flow, InvalidFlow):
        assert flow.violations, "a refused flow names no violation"
        return sorted({violation.path for violation in flow.violations}, key=str)
    steps = [(step.id, step.component, step.on_error, step.must_execute) for step in flow.steps.values()]
    return steps, output_of(flow)


def output_of(flow: Flow) -> Any:
    """The value of the output for an input; None if steps are missing, the code of the error if it has none."""
    output = evaluated(flow, INPUT)
    if isinstance(output, ItemError):
        return output.code
    try:
        return None if output is None else [json.loads(json_text(output), parse_int=str)]
    except RecursionError:
        return "too deep for Python to compare"
