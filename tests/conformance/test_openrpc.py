"""The OpenRPC document: what its specification asks for, and what recorded and real calls say."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

from tests.conformance.test_recordings import SCENARIOS, lines_of, replay
from tests.conformance.test_specification import GET_REQUEST, GET_RESPONSE, SUBMIT_REQUEST, SUBMIT_RESPONSE
from tests.integration.conftest import Start
from tests.support.node_packages import node_package
from tests.support.openrpc import DOCUMENT, METHODS, faults_of_answer, faults_of_params

OTHERS: Final = {"runs/submit", "runs/get", "blobs/put", "blobs/get"}
"""The methods of the runtimes in the recordings."""

SCHEMAS: Final = "https://meta.json-schema.tools"


def exported(package: str) -> Any:
    """The object that a package of npm consists of."""
    script = (node_package(package) / "index.js").read_text(encoding="utf-8")
    (text,) = re.findall(r"^exports\.\w+ = (\{.*\});$", script, re.MULTILINE)
    return json.loads(text)


@pytest.mark.skipif(
    shutil.which("npm") is None and not os.environ.get("CI"), reason="npm was not found; CI runs this test"
)
def test_it_is_an_openrpc_document() -> None:
    schemas = DRAFT7.create_resource(exported("@json-schema-tools/meta-schema"))
    registry: Registry[Any] = Registry().with_resources([(SCHEMAS, schemas), (f"{SCHEMAS}/", schemas)])
    validator = Draft7Validator(exported("@open-rpc/meta-schema"), registry=registry)
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []
    assert not validator.is_valid({**DOCUMENT, "methods": [{"name": "x"}]})
    assert not validator.is_valid({**DOCUMENT, "components": {"schemas": {"X": {"type": "unknown"}}}})


def test_each_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert references <= DOCUMENT["components"]["schemas"].keys()
    assert DOCUMENT["components"]["schemas"].keys() - references == {"ErrorData"}
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


def test_codes_of_a_method_differ_and_names_of_parameters_do() -> None:
    for method in METHODS.values():
        codes = [error["code"] for error in method["errors"]]
        names = [param["name"] for param in method["params"]]
        assert (len({*codes}), len({*names})) == (len(codes), len(names))


def calls(scenario: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The calls of a recording that were answered with a result, and these answers."""
    messages = [line["message"] for line in lines_of(scenario) if isinstance(line["message"], dict)]
    answers = {json.dumps(each["id"]): each for each in messages if "result" in each}
    asked = [each for each in messages if each.get("method") in OTHERS and "id" in each]
    return [(each, answers[json.dumps(each["id"])]) for each in asked if json.dumps(each["id"]) in answers]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_recorded_calls_fit(scenario: Path) -> None:
    for request, answer in calls(scenario):
        assert faults_of_params(request["method"], request["params"]) == []
        assert faults_of_answer(request["method"], in_both_spellings(answer)) == []


def in_both_spellings(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer of the blob methods as the gateway gives it: 0.9 knows one spelling of its members."""
    result = answer["result"]
    more = {new: result[old] for old, new in (("blob_id", "blobId"), ("blob_type", "blobType")) if old in result}
    return {**answer, "result": {**result, **more}}


def test_there_are_recorded_calls() -> None:
    assert {request["method"] for scenario in SCENARIOS for request, _ in calls(scenario)} == OTHERS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_answers_to_recorded_calls_fit(scenario: Path, start: Start) -> None:
    for item in await replay(scenario, start):
        method, answer = item.request["method"], json.loads(item.answer)
        if method in METHODS:
            assert faults_of_answer(method, answer) == []
            if "result" in answer:
                assert faults_of_params(method, item.request["params"]) == []


@pytest.mark.parametrize(
    ("request_text", "response_text"), [(SUBMIT_REQUEST, SUBMIT_RESPONSE), (GET_REQUEST, GET_RESPONSE)]
)
def test_examples_of_the_specification_fit(request_text: str, response_text: str) -> None:
    request, response = json.loads(request_text), json.loads(response_text)
    assert faults_of_params(request["method"], request["params"]) == []
    assert faults_of_answer(request["method"], response) == []
