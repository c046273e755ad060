"""What the OpenRPC document of the gateway says of parameters and answers."""

import json
from functools import cache
from typing import Any, Final

from jsonschema import Draft7Validator

from gateway.fronts.http.openrpc import openrpc_document

DOCUMENT: Final[dict[str, Any]] = json.loads(openrpc_document())
METHODS: Final[dict[str, dict[str, Any]]] = {method["name"]: method for method in DOCUMENT["methods"]}

ANYWHERE: Final = frozenset({-32700, -32600, -32601})
"""The errors that any call may get, and that documents need not name."""


def faults_of_params(method: str, params: Any) -> list[str]:
    """What is wrong with parameters."""
    given = {} if params is None else params
    for param in METHODS[method]["params"]:
        other = param.get("x-other-spelling")
        if isinstance(given, dict) and other in given:
            given = {**given, param["name"]: given[other]}
    return [error.message for error in _params(method).iter_errors(given)]


def faults_of_answer(method: str, answer: dict[str, Any]) -> list[str]:
    """What is wrong with a response: its result, or the code and the reason of its error."""
    if "error" not in answer:
        return [f"{error.json_path}: {error.message}" for error in _result(method).iter_errors(answer["result"])]
    error = answer["error"]
    if error["code"] in ANYWHERE:
        return []
    known = {each["code"]: each["data"]["reasons"] for each in METHODS[method]["errors"]}
    if error.get("data", {}).get("reason") not in known.get(error["code"], ()):
        return [f"an error of another kind: {error}"]
    return faults_of("ErrorData", error["data"])


def faults_of(schema: str, value: Any) -> list[str]:
    """What is wrong with an object, by the name of its schema."""
    return [error.message for error in _named(schema).iter_errors(value)]


@cache
def _params(method: str) -> Draft7Validator:
    described = METHODS[method]
    return _validator(
        {
            "type": "object",
            "properties": {param["name"]: param["schema"] for param in described["params"]},
            "required": [param["name"] for param in described["params"] if param["required"]],
            "additionalProperties": described["x-unknown-params"] == "kept",
        }
    )


@cache
def _result(method: str) -> Draft7Validator:
    return _validator(METHODS[method]["result"]["schema"])


@cache
def _named(schema: str) -> Draft7Validator:
    return _validator({"$ref": f"#/components/schemas/{schema}"})


def _validator(schema: dict[str, Any]) -> Draft7Validator:
    # Beside a reference, everything is ignored: the components stand in an object of their own.
    return Draft7Validator({"allOf": [schema], "components": DOCUMENT["components"]})
