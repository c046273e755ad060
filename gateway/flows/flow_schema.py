"""The JSON Schema of flow documents.

It accepts every flow that `compile_flow` does. What it cannot say, only the compiler refuses: steps with the same id,
references to steps that do not come before, and expressions that nest too deeply.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Final

from gateway.core.json_schema import JsonSchema
from gateway.core.model import JsonText
from gateway.flows.expression_compiler import DATA_NAMES, MEMBERS
from gateway.flows.flow import DEFAULT_RETRIES, MAX_RETRIES

_PART: Final = r"""(?:\.[^.\[]*|\[\s*(?:[0-9]{1,18}|"[^"]*"|'[^']*')\s*\])"""
_EXPRESSION: Final = {"$ref": "#/$defs/expression"}
_PATH: Final = {"$ref": "#/$defs/path"}

_ARGUMENTS: Final[Mapping[str, JsonSchema]] = {
    "$literal": {"description": "Any value, taken as it is: nothing in it is an expression."},
    "$if": {**_EXPRESSION, "description": "The condition. Null, false and one that fails choose `else`."},
    "$coalesce": {"type": "array", "items": _EXPRESSION, "description": "The first value that is not null counts."},
    "$step": {"type": "string", "description": "The id of an earlier step, whose output is the value."},
    "$input": {**_PATH, "description": "Where the value is in the input of the run."},
    "$variable": {
        **_PATH,
        "type": "string",
        "minLength": 1,
        "description": "The variable, or a path that begins with it.",
    },
}
_OTHERS: Final[Mapping[str, JsonSchema]] = {
    "then": {**_EXPRESSION, "description": "The value if the condition holds."},
    "else": {**_EXPRESSION, "description": "The value if it does not; null if this is absent."},
    "path": {**_PATH, "description": "Where the value is in the output of the step."},
    "default": {**_EXPRESSION, "description": "The value if the variable has none."},
}
_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "$literal": "A value that is data, whatever it holds.",
    "$if": "One of two values.",
    "$coalesce": "The first of several values that is not null.",
    "$step": "The output of an earlier step, or a part of it.",
    "$input": "The input of the run, or a part of it.",
    "$variable": "A variable of the run, or a part of it.",
}


@cache
def flow_schema() -> JsonText:
    """The text of the schema, in draft 2020-12."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Flow",
        "description": "What runs execute: steps, and an output that is made from theirs.",
        "type": "object",
        "anyOf": [{"required": ["steps"]}, {"required": ["output"]}],
        "properties": {
            "name": {"type": ["string", "null"], "description": "The name, which the states of runs show."},
            "schemas": {"$ref": "#/$defs/schemas"},
            "steps": {
                "type": ["array", "null"],
                "items": {"$ref": "#/$defs/step"},
                "description": "The steps. Each may refer to those before it.",
            },
            "output": {**_EXPRESSION, "description": "The result of an item; null if it is absent."},
        },
        "$defs": {
            "step": _step(),
            "onError": _on_error(),
            "schemas": _schemas(),
            **_expressions(),
        },
    }
    return json.dumps(schema, indent=2)


def _step() -> JsonSchema:
    return {
        "type": "object",
        "required": ["id", "component"],
        "properties": {
            "id": {"type": "string", "minLength": 1, "description": "The name of the step, which no other one has."},
            "component": {
                "type": "string",
                "pattern": "^/",
                "description": "The path of the component that the step calls, as `/builtin/eval`.",
            },
            "input": {**_EXPRESSION, "description": "What the component is given; null if it is absent."},
            "onError": {"anyOf": [{"$ref": "#/$defs/onError"}, {"type": "null"}]},
            "mustExecute": {
                "type": ["boolean", "null"],
                "description": "Whether the step executes even if the output does not need it.",
            },
        },
    }


def _on_error() -> JsonSchema:
    retries = {
        "type": ["integer", "null"],
        "minimum": 0,
        "maximum": MAX_RETRIES,
        "default": DEFAULT_RETRIES,
        "description": "How many more attempts there are.",
    }
    return {
        "description": "What happens when the component fails.",
        "type": "object",
        "required": ["action"],
        "properties": {
            "action": {
                "enum": ["fail", "useDefault", "retry"],
                "description": "Fail the item, go on with a default, or try again.",
            },
            "defaultValue": {"description": "The output of the step for `useDefault`; null if it is absent."},
        },
        "if": {"properties": {"action": {"const": "retry"}}},
        "then": {"properties": {"maxRetries": retries}},
    }


def _schemas() -> JsonSchema:
    """Of these, the compiler reads the defaults of variables; all else in them is for other tools."""
    variable = {
        "type": ["object", "boolean", "null"],
        "properties": {"default": {"description": "The value if the run gives none."}},
        "description": "The JSON Schema of a variable.",
    }
    variables = {
        "type": ["object", "boolean", "null"],
        "properties": {
            "properties": {"type": ["object", "boolean", "null"], "additionalProperties": variable},
            "required": {"type": ["array", "null"], "items": {"type": "string"}},
        },
    }
    return {
        "description": "A JSON Schema of the flow: variables are at `properties.variables.properties`.",
        "type": ["object", "boolean", "null"],
        "properties": {
            "properties": {"type": ["object", "boolean", "null"], "properties": {"variables": variables}},
        },
    }


def _expressions() -> dict[str, JsonSchema]:
    names = [{"$ref": f"#/$defs/{_definition(name)}"} for name in MEMBERS]
    scalar = {"type": ["string", "number", "boolean", "null"]}
    data = {"$ref": "#/$defs/data"}
    array = {"type": "array", "items": _EXPRESSION}
    return {
        "expression": {
            "description": "A value, in which objects with a `$` name stand for others.",
            "anyOf": [scalar, array, *names, data],
        },
        **{_definition(name): _expression(name) for name in MEMBERS},
        "data": {
            "description": "An object whose members are expressions.",
            "type": "object",
            "propertyNames": {"anyOf": [{"enum": sorted(DATA_NAMES)}, {"not": {"pattern": r"^\$[A-Za-z]"}}]},
            "additionalProperties": _EXPRESSION,
        },
        "path": {
            "description": "A path into a value: `$.name[0]['name']`, or `name` for short. `$` is the whole value.",
            "type": ["string", "null"],
            "pattern": rf"^\s*(?:\${_PART}*|(?![\s$])[^.\[]*{_PART}*)\s*$",
        },
    }


def _definition(name: str) -> str:
    return f"{name[1:]}Expression"


def _expression(name: str) -> JsonSchema:
    return {
        "description": _DESCRIPTIONS[name],
        "type": "object",
        "required": [name, *(["then"] if name == "$if" else [])],
        "properties": {name: _ARGUMENTS[name], **{other: _OTHERS[other] for other in MEMBERS[name]}},
        "additionalProperties": False,
    }
