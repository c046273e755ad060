"""Fingerprints: parameters that mean the same have the same, however they are spelled and kept."""

import json

import pytest
from msgspec.structs import replace

from gateway.core.errors import IdempotencyConflict
from gateway.core.json_text import json_text
from gateway.core.model import SubmitParams
from gateway.core.packed_texts import PackedTexts
from gateway.core.validation import validated
from gateway.storage.fingerprint import fingerprint, refuse_other
from tests.support.parameter_pairs import DIFFERENT, SAME, Pair

FLOW = "sha256:" + "ab" * 32
LONG_OBJECT = json.dumps({f"name {number}": [number] for number in range(20_000)})


def submit(changes: dict[str, object]) -> SubmitParams:
    params = validated(SubmitParams, {"flow_id": FLOW, "inputs": ["1"], **changes})
    stripped: dict[str, object] = {"variables": {name: json_text(text) for name, text in params.variables.items()}}
    if isinstance(params.inputs, list):
        stripped["inputs"] = [text.strip() for text in params.inputs]
    if params.overrides is not None:
        stripped["overrides"] = json_text(params.overrides)
    return replace(params, **stripped)


@pytest.mark.parametrize("pair", SAME, ids=lambda pair: pair.name)
async def test_what_means_the_same_has_the_same(pair: Pair) -> None:
    assert await fingerprint(submit(pair.one)) == await fingerprint(submit(pair.other))


@pytest.mark.parametrize("pair", DIFFERENT, ids=lambda pair: pair.name)
async def test_what_does_not_mean_the_same_has_others(pair: Pair) -> None:
    assert await fingerprint(submit(pair.one)) != await fingerprint(submit(pair.other))


async def test_it_tells_everything_apart_that_makes_a_run() -> None:
    same = submit({"inputs": ["1", "2"], "variables": {"a": "1", "b": "2"}})
    changes: list[dict[str, object]] = [
        {"flow_id": "sha256:" + "cd" * 32},
        {"inputs": ["12"]},
        {"max_concurrency": 1},
        {"overrides": '{"x":{"value":{}}}'},
        {"variables": {"a": "1"}},
        {"flow_label": "x"},
    ]
    changed = {await fingerprint(replace(same, **change)) for change in changes}
    assert len(changed | {await fingerprint(same)}) == 7


async def test_a_default_that_is_known_makes_no_difference() -> None:
    absent, given = submit({}), submit({"max_concurrency": 64})
    assert await fingerprint(absent, concurrency=64) == await fingerprint(given, concurrency=64)
    assert await fingerprint(absent) != await fingerprint(given)


async def test_packed_inputs_have_the_fingerprint_of_the_list() -> None:
    texts = ['"é"', "1" * 100, '"' + "é" * 100_000 + '"', *(f"{number}.0" for number in range(5_000)), LONG_OBJECT]
    packed = PackedTexts()
    packed.extend(texts)
    once = await fingerprint(submit({"inputs": texts}))
    assert await fingerprint(submit({"inputs": packed})) == once
    respelled = [json.dumps(json.loads(text), indent=1) if len(text) > 100 else text for text in texts]
    assert await fingerprint(submit({"inputs": respelled})) == once


async def test_inputs_may_nest_as_deeply_as_any() -> None:
    deep = "[" * 960 + "]" * 960
    assert await fingerprint(submit({"inputs": [deep]})) == await fingerprint(submit({"inputs": [f" {deep} "]}))
    assert await fingerprint(submit({"inputs": [deep]})) != await fingerprint(submit({"inputs": [f"[{deep}]"]}))


async def test_what_an_earlier_version_kept_stands_for_any_parameters() -> None:
    given = await fingerprint(submit({}))
    refuse_other("ab" * 32, given)
    refuse_other(given, given)
    with pytest.raises(IdempotencyConflict):
        refuse_other(await fingerprint(submit({"inputs": []})), given)
