"""The flows that the kit stores. They need no component server: what takes time is a loop of built-in components."""

import json
from typing import Any, Final

LARGE: Final = 200_000
"""How many characters each result of a large run has: a message of the contract takes about 1 MiB of results."""

FOREVER: Final = 100_000
"""Turns of a loop that does not end while the kit looks at it. Each turn is a loop of 1,000."""

LIMIT: Final = 100_000
"""How often /builtin/iterate calls its flow at most."""


def large_flow() -> str:
    """A flow whose results are long although its inputs are short."""
    return json.dumps({"steps": [], "output": {"item": {"$input": "$"}, "text": {"$literal": "x" * LARGE}}})


def echo_flow() -> str:
    """A flow whose results are its inputs, at once."""
    return json.dumps({"steps": [], "output": {"$input": "$"}})


def looping_flow() -> str:
    """A flow whose items end after as many turns as their input says: `{"item": 7, "turns": 200}`."""
    turn = {"steps": [], "output": {"next": {"$input": "$"}}}
    thousand = {"steps": [_loop("inner", turn, 1_000)], "output": {"next": {"$step": "inner"}}}
    loop = _loop("outer", thousand, {"$input": "$.turns"})
    return json.dumps({"steps": [loop], "output": {"item": {"$input": "$.item"}, "loop": {"$step": "outer"}}})


def waiting_flow(component: str) -> str:
    """A flow whose items end when a component of the target has answered: after `milliseconds` of its input."""
    step = {"id": "wait", "component": component, "input": {"$input": "$"}}
    output = {"item": {"$input": "$.item"}, "answer": {"$step": "wait"}}
    return json.dumps({"steps": [step], "output": output})


def missing_flow() -> str:
    """A flow whose items fail: their output is a member that no input has."""
    return json.dumps({"steps": [], "output": {"$input": "$.nothing"}})


def endless_flow() -> str:
    """A flow whose items iterate more often than the gateway lets them, and fail where there is such a limit."""
    turn = {"steps": [], "output": {"next": 0}}
    return json.dumps({"steps": [_loop("loop", turn, LIMIT + 1)], "output": {"$step": "loop"}})


def item_that_ends_after(item: int, turns: int) -> str:
    """The input of an item of either flow."""
    return json.dumps({"item": item, "turns": turns, "milliseconds": turns * 100})


def _loop(step: str, flow: Any, turns: Any) -> dict[str, Any]:
    given = {"flow": {"$literal": flow}, "initial_input": 0, "max_iterations": turns}
    return {"id": step, "component": "/builtin/iterate", "input": given}
