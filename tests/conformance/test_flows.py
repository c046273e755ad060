"""The flows of `tests/data/flows` give what the real engine gave for them.

Each file holds a flow, its inputs, and the results recorded with versions 0.11.1 and 0.13.0 of the engine. We keep to
0.11.1 exactly, number spelling included. What differs, and why:

- 0.13 prints every whole number as a float (`1` as `1.0`) and sorts keys, since its payloads travel as
  google.protobuf.Value. Its values are therefore compared as numbers.
- For the same reason 0.13 fails 17 (`max_iterations: 3` reaches its built-in as 3.0) and refuses to store 18
  (`maxRetries: 1`).
- 19, the old `$from` syntax: 0.11.1 passes it on as data, silently; 0.13 refuses it and tells what to write instead. So
  do we.
- 20 is refused by both, with a diagnostic where we raise InvalidFlow.
- Errors: 0.13 gives another family of codes; its messages are the same.
- Ids: both hash a document as they rewrote it, 0.11.1 with paths written out (`m` as `$.m`), 0.13 with sorted keys; we
  hash its compact form. For a document without short paths, as the blob in 12 is, 0.11.1 gives the same.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.core.errors import InvalidFlow
from gateway.core.model import Blob, BlobType, ItemResult, RunState, SubmitParams
from tests.support.clients import Client

FILES = sorted((Path(__file__).parents[1] / "data" / "flows").glob("*.json"))

REFUSED = {"19_legacy_from": ("output",), "20_forward_and_unknown_refs": ("steps", 0, "input", "user_prompt")}
"""Flows that are invalid, with the place that is wrong."""

INEXACT = {"17_integers", "18_max_retries"}
"""Flows whose results with 0.13 are artefacts of numbers that it turned into floats."""


class Expectation(NamedTuple):
    """The results of a run: of each item its output, or the code and message of its failure."""

    outputs: list[Any]

    @classmethod
    def of(cls, results: list[ItemResult]) -> "Expectation":
        return cls([_outcome(result) for result in results])


def _outcome(result: ItemResult) -> Any:
    if result.status is RunState.SUCCESS:
        return exact(str(result.value))
    assert result.error is not None
    return (result.error.code, result.error.message)


def exact(text: str) -> Any:
    """Read JSON such that 1, 1.0 and the order of keys can be told apart."""
    return json.loads(
        text,
        parse_int=lambda digits: ("int", digits),
        parse_float=lambda digits: ("float", digits),
        object_pairs_hook=lambda pairs: ("object", pairs),
    )


def expectation(document: dict[str, Any]) -> Expectation:
    """What a recorded flow must give: the results of 0.11.1."""
    outputs = []
    for item in document["expected"]["0.11.1"]["results"]:
        result = item["result"]
        if result["outcome"] == "success":
            outputs.append(exact(json.dumps(result["result"])))
        else:
            outputs.append((result["error"]["code"], result["error"]["message"]))
    return Expectation(outputs)


def numerically(results: list[ItemResult]) -> list[Any]:
    """Results as 0.13 gives them: numbers compare by value, keys in any order, failures by message."""
    return [json.loads(r.value) if r.value is not None else r.error and r.error.message for r in results]


def recorded_numerically(document: dict[str, Any]) -> list[Any]:
    results = document["expected"]["0.13.0"]["results"]
    return [item["output"] if "output" in item else item["errorMessage"] for item in results]


def without_artefacts(value: Any) -> Any:
    """Leave out what the versions of the engine disagree on: blob ids, and the codes of errors."""
    if isinstance(value, dict):
        return {key: without_artefacts(part) for key, part in value.items() if key not in ("blob_id", "code")}
    return [without_artefacts(part) for part in value] if isinstance(value, list) else value


def load(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text())
    return document


async def results(client: Client, document: dict[str, Any]) -> list[ItemResult]:
    """Run a recorded flow for its inputs."""
    flow_id = await client.put_blob(Blob(json.dumps(document["flow"], separators=(",", ":")), BlobType.FLOW))
    status = await client.submit(
        SubmitParams(
            flow_id=flow_id,
            inputs=[json.dumps(value) for value in document["inputs"]],
            wait=True,
            overrides=json.dumps(document["overrides"]) if "overrides" in document else None,
            variables={name: json.dumps(value) for name, value in document.get("variables", {}).items()},
        )
    )
    assert status.results is not None
    return status.results


def files(*without: str) -> list[Any]:
    return [pytest.param(file, id=file.stem) for file in FILES if file.stem not in {*REFUSED, *without}]


def test_all_flows_are_here() -> None:
    assert len(FILES) == 14


@pytest.mark.parametrize("file", files())
async def test_results_of_0_11_1(file: Path, client: Client) -> None:
    document = load(file)
    assert Expectation.of(await results(client, document)) == expectation(document)


@pytest.mark.parametrize("file", files(*INEXACT))
async def test_results_of_0_13(file: Path, client: Client) -> None:
    document = load(file)
    given, recorded = numerically(await results(client, document)), recorded_numerically(document)
    assert without_artefacts(given) == without_artefacts(recorded)


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_flows(name: str, client: Client) -> None:
    (file,) = (file for file in FILES if file.stem == name)
    with pytest.raises(InvalidFlow) as caught:
        await client.put_blob(Blob(json.dumps(load(file)["flow"]), BlobType.FLOW))
    assert [violation.path for violation in caught.value.violations] == [REFUSED[name]]
