"""One suite for every runtime over every front: whatever executes runs, clients see the same.

What they do not see alike is in `differences`, and nowhere else. Servers have their built-in components only.
"""

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from gateway.core.control import CancelParams, ItemsParams
from gateway.core.errors import (
    BlobNotFound,
    FlowNotFound,
    IdempotencyConflict,
    InvalidBlobId,
    InvalidFlow,
    InvalidParams,
    InvalidRunId,
    RunNotFound,
    TooLarge,
    render_path,
)
from gateway.core.model import (
    Blob,
    BlobType,
    GetParams,
    ItemResult,
    ObservabilityContext,
    ResultOrder,
    RunState,
    RunStatus,
    SubmitParams,
)
from tests.conformance import differences
from tests.conformance.differences import Difference
from tests.conformance.systems import FRONTS, System, put_flow, submit, system_over
from tests.support.parameter_pairs import DIFFERENT, SAME
from tests.support.runtimes import DOCUMENT, RUNTIMES
from tests.support.updates import Follower, Update, folded

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ECHO = '{"name":"echo","steps":[],"output":{"$input":"$"}}'
PICKY = '{"name":"picky","steps":[],"output":{"$input":"m"}}'
VARIABLES = (
    '{"name":"variables","steps":[],"output":{"given":{"$variable":"given"},"own":{"$variable":"own","default":7}}}'
)
STEP_X = json.dumps(
    {
        "name": "step x",
        "steps": [{"id": "x", "component": "/builtin/create_messages", "input": {"user_prompt": "x"}}],
        "output": {"$input": "$"},
    }
)
MESSAGES = json.dumps(
    {
        "name": "messages",
        "steps": [{"id": "s", "component": "/builtin/create_messages", "input": {"user_prompt": {"$input": "$"}}}],
        "output": {"$step": "s", "path": "$.messages[0].content"},
    }
)
SLOW = json.dumps(
    {
        "name": "slow",
        "steps": [
            {
                "id": "s",
                "component": "/builtin/iterate",
                "input": {
                    "flow": {"$literal": {"steps": [], "output": {"next": {"$input": "$"}}}},
                    "initial_input": {"$input": "$"},
                },
            }
        ],
        "output": {"$step": "s", "path": "result"},
    }
)
"""A thousand iterations an item: long enough for its run to be seen before its end, on the fastest engine."""

RECORDED: dict[str, dict[str, Any]] = {
    file.stem: json.loads(file.read_text()) for file in (Path(__file__).parents[1] / "data/flows").glob("*.json")
}
"""Flows with the results that the engine, 0.11.1, gave for them."""

REFUSED_FLOWS = {"19_legacy_from", "20_forward_and_unknown_refs"}

COMPACT_FORMS = (
    ('{"b":  [null, "ü"], "a":1}', '{"b":[null,"ü"],"a":1}'),
    ('"\\u0061\\/\\u00e9\\u0001\\b\\u001F \\ud83d\\ude00"', '"a/é\\u0001\\b\\u001f 😀"'),
    ("[1.0, 1e2, 1E2, 1.50, -0.0, 0.1e1, -0]", "[1.0,100.0,100.0,1.5,-0.0,1.0,-0.0]"),
    ("[1e-7, 1e21, 1e16, 1e15, 0.00001, 1e-5, 0.000001]", "[1e-7,1e+21,1e+16,1000000000000000.0,0.00001,0.00001,1e-6]"),
    (
        "[18446744073709551615, -9223372036854775808, 0.30000000000000004]",
        "[18446744073709551615,-9223372036854775808,0.30000000000000004]",
    ),
    ("[5e-324, 1.7976931348623157e308, 123456789.125]", "[5e-324,1.7976931348623157e+308,123456789.125]"),
)
"""Documents, and the form in which the engine stores them."""

COMPACT: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=RUNTIMES)
async def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder: Path = tmp_path_factory.mktemp("runtime")
    async with system_over(request.param, folder) as system:
        yield system


@pytest.fixture(params=FRONTS)
def client(request: pytest.FixtureRequest, system: System) -> Follower:
    return system.client(request.param)


async def updates(client: Follower, params: GetParams) -> list[Update]:
    return [update async for update in client.updates(params)]


def values(results: list[ItemResult] | None) -> list[str | None]:
    assert results is not None
    return [result.value for result in results]


def indexes(results: list[ItemResult] | None) -> list[int]:
    assert results is not None
    return [result.item_index for result in results]


def settled(status: RunStatus, final: RunStatus) -> RunStatus:
    """A status with the time of the end as it is told later: engines settle it, by microseconds, after the end."""
    return replace(status, completed_at=final.completed_at)


async def test_submit_and_wait_returns_the_results_by_index(client: Follower) -> None:
    status = await submit(client, ECHO, ["1", '"b"', "[3]"], wait=True)
    assert (status.status, status.flow_name) == (RunState.SUCCESS, "echo")
    assert (status.items.total, status.items.success) == (3, 3)
    assert (status.items.pending, status.items.running, status.items.failed, status.items.cancelled) == (0, 0, 0, 0)
    assert (indexes(status.results), values(status.results)) == ([0, 1, 2], ["1", '"b"', "[3]"])
    assert status.completed_at is not None
    assert status.created_at <= status.completed_at
    assert all(result.status is RunState.SUCCESS for result in status.results or [])


async def test_submit_without_wait_returns_a_run_to_get(client: Follower) -> None:
    accepted = await submit(client, ECHO, ["1", "2"])
    assert (accepted.results, accepted.items.total) == (None, 2)
    final = await client.get(GetParams(run_id=accepted.run_id, wait=True, include_results=True))
    assert (final.run_id, final.flow_id, final.status) == (accepted.run_id, accepted.flow_id, RunState.SUCCESS)
    assert values(final.results) == ["1", "2"]
    assert (await client.get(GetParams(run_id=accepted.run_id.upper()))).run_id == accepted.run_id


async def test_a_run_is_the_same_on_both_fronts(system: System) -> None:
    for there, back in ((system.grpc, system.jsonrpc), (system.jsonrpc, system.grpc)):
        accepted = await submit(there, PICKY, ['{"m":"x"}', "{}"], wait=True)
        for order in ResultOrder:
            params = GetParams(run_id=accepted.run_id, include_results=True, result_order=order)
            assert await back.get(params) == await there.get(params)
        final = await back.get(GetParams(run_id=accepted.run_id, include_results=True))
        assert final == settled(accepted, final)


async def test_no_inputs_make_a_run_that_succeeds(system: System, client: Follower) -> None:
    if system.shows(differences.NO_EMPTY_RUNS):
        with pytest.raises(InvalidParams, match="inputs"):
            await submit(client, ECHO, [])
        return
    status = await submit(client, ECHO, [], wait=True)
    assert (status.status, status.items.total, status.results) == (RunState.SUCCESS, 0, [])
    assert status.completed_at is not None
    got = await client.get(GetParams(run_id=status.run_id, wait=True, include_results=True))
    assert got == settled(status, got)
    assert folded(await updates(client, GetParams(run_id=status.run_id, include_results=True))) == got


async def test_one_failed_item_fails_the_run_and_leaves_the_others(system: System, client: Follower) -> None:
    status = await submit(client, PICKY, ['{"m":1}', "{}", '{"m":null}'], wait=True)
    assert status.status is RunState.FAILED
    assert (status.items.success, status.items.failed) == (2, 1)
    assert values(status.results) == ["1", None, "null"]
    failed = (status.results or [])[1]
    assert failed.error is not None
    assert failed.status is RunState.FAILED
    assert failed.error.message == "Input path $.m not found"
    assert failed.error.code == (1 if system.shows(differences.OTHER_CODES) else -32200)


@pytest.mark.parametrize(("include", "order"), list(product((False, True), ResultOrder)))
async def test_a_finished_run_has_its_results_in_both_orders(
    client: Follower, include: bool, order: ResultOrder
) -> None:
    run_id = (await submit(client, MESSAGES, [f'"{index}"' for index in range(30)], wait=True)).run_id
    params = GetParams(run_id=run_id, include_results=include, result_order=order)
    status = await client.get(params)
    assert folded(await updates(client, params)) == status
    if not include:
        assert status.results is None
        return
    assert sorted(indexes(status.results)) == list(range(30))
    assert order is ResultOrder.BY_COMPLETION or indexes(status.results) == list(range(30))
    assert all(result.value == f'"{result.item_index}"' for result in status.results or [])


@pytest.mark.parametrize(("include", "order"), list(product((False, True), ResultOrder)))
async def test_a_run_that_is_followed_folds_to_the_answer_of_runs_get(
    system: System, client: Follower, include: bool, order: ResultOrder
) -> None:
    accepted = await submit(client, SLOW, [str(index) for index in range(10)], max_concurrency=2)
    params = GetParams(run_id=accepted.run_id, include_results=include, result_order=order)
    told = await updates(client, params)
    assert told[0].status.created_at == accepted.created_at
    assert [update.status.status.terminal for update in told] == [False] * (len(told) - 1) + [True]
    revisions = [update.revision for update in told]
    assert revisions == sorted(revisions)
    assert folded(told) == await client.get(params)
    assert folded(await updates(client, params)) == folded(told)
    assert not include or sorted(indexes(folded(told).results)) == list(range(10))
    if system.shows(differences.RESULTS_AT_THE_END):
        assert not any(update.status.results for update in told[:-1])


async def test_followers_of_both_fronts_are_told_the_same(system: System) -> None:
    accepted = await submit(system.grpc, SLOW, [str(index) for index in range(6)], max_concurrency=1)
    params = GetParams(run_id=accepted.run_id, include_results=True)
    told = await asyncio.gather(*(updates(system.client(front), params) for front in FRONTS * 2))
    assert all(folded(each) == folded(told[0]) for each in told)


@pytest.mark.parametrize("order", ResultOrder)
async def test_a_stream_goes_on_after_each_cut(client: Follower, order: ResultOrder) -> None:
    accepted = await submit(client, SLOW, [str(index) for index in range(6)], max_concurrency=2)
    params = GetParams(run_id=accepted.run_id, include_results=True, result_order=order)
    received: list[Update] = []
    while not received or not received[-1].status.status.terminal:
        token = received[-1].token if received else b""
        async with aclosing(client.updates(replace(params, resume_token=token))) as stream:
            # The first update of a stream tells where it goes on, the second is news.
            received.append(await anext(stream))
            if not received[-1].status.status.terminal:
                received.append(await anext(stream))
    token = received[-1].token
    received += await updates(client, replace(params, resume_token=token))
    assert not any(update.restarted for update in received)
    assert folded(received) == await client.get(params)


@pytest.mark.parametrize("order", ResultOrder)
async def test_many_results_go_on_after_every_message(client: Follower, order: ResultOrder) -> None:
    run_id = (await submit(client, ECHO, [str(index) for index in range(1_500)], wait=True)).run_id
    params = GetParams(run_id=run_id, include_results=True, result_order=order)
    uncut = await updates(client, params)
    assert len(uncut) > 1
    whole = folded(uncut)
    assert sorted(indexes(whole.results)) == list(range(1_500))
    assert whole == await client.get(params)
    for count in range(1, len(uncut) + 1, max(1, len(uncut) // 5)):
        rest = await updates(client, replace(params, resume_token=uncut[count - 1].token))
        assert not any(update.restarted for update in rest)
        assert folded(uncut[:count] + rest) == whole


async def test_results_larger_than_a_message_arrive_in_several(client: Follower) -> None:
    large = '"' + "x" * 300_000 + '"'
    run_id = (await submit(client, ECHO, [large] * 6)).run_id
    params = GetParams(run_id=run_id, include_results=True)
    told = await updates(client, params)
    assert values(folded(told).results) == [large] * 6
    assert len([update for update in told if update.status.results]) > 1
    assert max(sum(len(r.value or "") for r in update.status.results or []) for update in told) < 2 << 20
    assert folded(told) == await client.get(params)


async def test_inputs_may_be_large(system: System, client: Follower) -> None:
    inputs = ['"' + "x" * 300_000 + '"'] * 8
    if system.shows(differences.SMALL_MESSAGES):
        with pytest.raises(TooLarge):
            await submit(client, ECHO, inputs)
    else:
        assert (await submit(client, ECHO, inputs)).items.total == 8


LONG_NAME = "n" * 200_000


@pytest.mark.parametrize("field", ["observability", "flow_id"])
async def test_traces_and_names_may_be_long(system: System, client: Follower, field: str) -> None:
    flow, params = json.dumps({"name": LONG_NAME, "output": {"$input": "$"}, "steps": []}), {}
    if field == "observability":
        flow, params = ECHO, {"observability": ObservabilityContext(extensions={"x": json.dumps(LONG_NAME)})}
    if system.shows(differences.SHORT_CONTEXTS):
        with pytest.raises(InvalidParams) as refused:
            await submit(client, flow, ["1"], **params)
        assert [violation.path for violation in refused.value.violations] == [(field,)]
    else:
        assert (await submit(client, flow, ["1"], wait=True, **params)).status is RunState.SUCCESS


async def test_items_that_execute_tell_their_steps(system: System, client: Follower) -> None:
    if system.runtime in differences.ENGINES | {DOCUMENT}:
        return  # Items are not told at all, or their steps as the engine has them.
    run = await submit(client, SLOW.replace('"initial_input"', '"max_iterations": 100000, "initial_input"'), ["1"])
    item = None
    while item is None or item.status is RunState.PENDING:
        [item] = (await client.items(ItemsParams(run_id=run.run_id))).items
    assert item.status is RunState.RUNNING
    if system.shows(differences.STEPS_AT_THE_END):
        assert not item.steps
    else:
        assert [step.step_id for step in item.steps] == ["s"]
    await client.cancel(CancelParams(run_id=run.run_id))


async def test_a_token_that_is_not_understood_starts_anew(client: Follower) -> None:
    runs = [(await submit(client, ECHO, ["1", "2"], wait=True)).run_id for _ in range(2)]
    params, other = (GetParams(run_id=run_id, include_results=True) for run_id in runs)
    for false in (b"\0", (await updates(client, other))[-1].token):
        told = await updates(client, replace(params, resume_token=false))
        assert told[0].restarted
        assert folded(told) == await client.get(params)


async def test_the_concurrency_of_items_can_be_bounded(system: System, client: Follower) -> None:
    accepted = await submit(client, SLOW, ["0", "1", "2", "3"], max_concurrency=1)
    told = await updates(client, GetParams(run_id=accepted.run_id))
    running = [update.status.items.running for update in told[:-1]]
    if not system.shows(differences.COUNTED_AS_RUNNING):
        assert max(running, default=0) <= 1
    elif system.runtime in differences.WORDS:
        assert set(running) <= {4}
    assert told[-1].status.items.success == 4


async def test_a_timeout_returns_the_status_and_leaves_the_run(client: Follower) -> None:
    flow_id = await put_flow(client, SLOW)
    inputs = [str(index) for index in range(10)]
    params = SubmitParams(flow_id=flow_id, inputs=inputs, max_concurrency=1, wait=True, timeout=0.001)
    accepted = await client.submit(params)
    get = GetParams(run_id=accepted.run_id, wait=True, timeout=0.0, include_results=True)
    status, told = await client.get(get), await updates(client, get)
    # Whether they come before the end of the run is a matter of speed; that they are statuses is not.
    for each in (accepted, status, *(update.status for update in told)):
        assert (each.run_id, each.items.total) == (accepted.run_id, 10)
        assert each.status.terminal is (each.completed_at is not None)
    assert (await client.get(replace(get, timeout=None))).status is RunState.SUCCESS


async def test_variables_reach_the_flow(system: System, client: Follower) -> None:
    status = await submit(client, VARIABLES, ["1"], wait=True, variables={"given": '{"a":null}'})
    if system.shows(differences.NO_VARIABLES):
        assert [outcome(result) for result in status.results or []] == [(-32200, "Undefined variable: given")]
    else:
        assert [outcome(result) for result in status.results or []] == [{"given": {"a": None}, "own": 7}]


@pytest.mark.parametrize("nested", [True, False])
async def test_overrides_change_the_steps(client: Follower, *, nested: bool) -> None:
    patch = '{"s":{"$type":"merge_patch","value":{"input":{"user_prompt":"other"}}}}'
    overrides = f'{{"steps":{patch}}}' if nested else patch
    status = await submit(client, MESSAGES, ['"x"'], wait=True, overrides=overrides)
    assert values(status.results) == ['"other"']


async def test_a_label_and_a_trace_are_taken(system: System, client: Follower) -> None:
    trace = ObservabilityContext(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331")
    status = await submit(client, ECHO, ["1"], wait=True, flow_label="nightly", observability=trace)
    label = None if system.shows(differences.NO_LABELS) else "nightly"
    assert (status.status, status.flow_label) == (RunState.SUCCESS, label)
    got = await client.get(GetParams(run_id=status.run_id, observability=trace))
    assert got.flow_label == label


async def test_the_same_key_returns_the_same_run_and_refuses_other_parameters(client: Follower) -> None:
    same: dict[str, Any] = {"idempotency_key": str(uuid.uuid4()), "variables": {"a": "1", "b": "2"}}
    first = await submit(client, ECHO, ["1"], **same)
    again = await submit(client, ECHO, ["1"], wait=True, **same)
    assert again.run_id == first.run_id
    assert values(again.results) == ["1"]
    for other in ({"inputs": ["2"]}, {"inputs": ["1"], "flow_label": "x"}, {"inputs": ["1"], "max_concurrency": 2}):
        with pytest.raises(IdempotencyConflict):
            await submit(client, ECHO, **same, **other)
    assert (await submit(client, ECHO, ["1"], idempotency_key=str(uuid.uuid4()))).run_id != first.run_id


@pytest.mark.parametrize("front", FRONTS)
async def test_a_key_stands_for_what_parameters_mean(system: System, front: str) -> None:
    """The second submit comes over the other front."""
    client, other = system.client(front), system.client(FRONTS[front == "grpc"])
    flow_id = await put_flow(client, STEP_X)
    for pair, same in [*((pair, True) for pair in SAME), *((pair, False) for pair in DIFFERENT)]:
        if pair.wide and system.runtime in differences.ENGINES | {DOCUMENT}:
            continue
        fixed: dict[str, Any] = {"flow_id": flow_id, "inputs": ["1"], "idempotency_key": str(uuid.uuid4())}
        first = await client.submit(SubmitParams(**{**fixed, **pair.one}))
        again = SubmitParams(**{**fixed, **pair.other})
        if same:
            assert (await other.submit(again)).run_id == first.run_id, pair.name
        else:
            with pytest.raises(IdempotencyConflict):
                assert await other.submit(again) is None, pair.name


async def test_the_same_key_at_the_same_time_makes_one_run(system: System) -> None:
    flow_id = await put_flow(system.grpc, ECHO)
    params = SubmitParams(flow_id=flow_id, inputs=["1"], idempotency_key=str(uuid.uuid4()), wait=True)
    runs = await asyncio.gather(*(system.client(front).submit(params) for front in FRONTS * 5))
    assert len({run.run_id for run in runs}) == 1
    assert all(run == runs[0] for run in runs)


async def test_what_does_not_exist_is_not_found(client: Follower) -> None:
    missing = "sha256:" + "0" * 64
    with pytest.raises(FlowNotFound) as flow:
        await client.submit(SubmitParams(flow_id=missing, inputs=["1"]))
    with pytest.raises(RunNotFound) as run:
        await client.get(GetParams(run_id=str(uuid.UUID(int=0))))
    with pytest.raises(RunNotFound):
        await updates(client, GetParams(run_id=str(uuid.UUID(int=0))))
    with pytest.raises(BlobNotFound) as blob:
        await client.get_blob(missing)
    assert [raised.value.jsonrpc_code for raised in (flow, run, blob)] == [-32005, -32000, -32005]


async def test_malformed_ids_are_refused_by_their_fields(client: Follower) -> None:
    for attempt, error, field in (
        (client.submit(SubmitParams(flow_id="sha256:abc123...", inputs=[])), InvalidBlobId, "flow_id"),
        (client.get(GetParams(run_id="no-uuid")), InvalidRunId, "run_id"),
        (client.get_blob("sha256:"), InvalidBlobId, "blob_id"),
    ):
        with pytest.raises(error) as raised:
            await attempt
        assert [violation.path[0] for violation in raised.value.violations] == [field]


@pytest.mark.parametrize(
    "flow",
    [
        "[]",
        json.dumps(RECORDED["20_forward_and_unknown_refs"]["flow"]),
        '{"steps":"x"}',
        '{"steps":[{"id":"a","component":"/builtin/eval"},{"id":"a","component":"/builtin/eval"}],"output":null}',
        '{"steps":[],"output":{"$step":"nowhere"}}',
    ],
)
async def test_invalid_flows_are_refused_when_stored(system: System, client: Follower, flow: str) -> None:
    with pytest.raises(InvalidParams) as raised:
        await put_flow(client, flow)
    assert raised.value.jsonrpc_code == InvalidFlow.code
    assert isinstance(raised.value, InvalidFlow) is not system.shows(differences.UNSPECIFIC_REFUSALS)


async def test_components_without_a_route_are_refused_when_submitted(system: System, client: Follower) -> None:
    flow = '{"steps":[{"id":"s","component":"/nowhere/x"}],"output":{"$step":"s"}}'
    params = SubmitParams(flow_id=await put_flow(client, flow), inputs=["1"], wait=True)
    if system.shows(differences.LATE_ROUTES):
        status = await client.submit(params)
        assert status.status is RunState.FAILED
        code = 500 if system.shows(differences.OTHER_CODES) else -32202
        assert [outcome(result) for result in status.results or []] == [(code, "error routing component")]
        return
    with pytest.raises(InvalidParams, match="/nowhere/x") as raised:
        await client.submit(params)
    assert raised.value.jsonrpc_code == InvalidFlow.code
    assert isinstance(raised.value, InvalidFlow) is not system.shows(differences.UNSPECIFIC_REFUSALS)


@pytest.mark.parametrize("overrides", ["[]", '{"steps":{"s":{"$type":"other","value":{}}}}'])
async def test_invalid_overrides_are_refused(system: System, client: Follower, overrides: str) -> None:
    with pytest.raises(InvalidParams) as raised:
        await submit(client, MESSAGES, ['"x"'], overrides=overrides)
    if not system.shows(differences.UNSPECIFIC_REFUSALS):
        assert raised.value.violations[0].path[0] == "overrides"


@pytest.mark.parametrize(
    "payload",
    ["null", '{"z":1,"a":null,"m":{}}', '"\\u0000\\ud83d\\ude00 ü"', "[]", '""', "{}", '{"":{"$":[true,false]}}'],
)
async def test_payloads_come_back_as_they_were(system: System, client: Follower, payload: str) -> None:
    inputs = [payload, f'{{"k":  {payload}}}']
    status = await submit(client, ECHO, inputs, wait=True)
    returned = values(status.results)
    if system.shows(differences.SORTED_KEYS):
        assert returned == [json.dumps(json.loads(text), sort_keys=True, **COMPACT) for text in inputs]
    elif system.shows(differences.REWRITTEN):
        assert returned != inputs
        assert [exact(text) for text in returned] == [exact(text) for text in inputs]
    else:
        assert returned == inputs
    assert await client.get(GetParams(run_id=status.run_id, include_results=True)) == status


REFUSED = None
NUMBERS: dict[str, dict[Difference, str | None]] = {
    "9007199254740993": {differences.INTEGERS_OF_53_BITS: REFUSED},
    "18446744073709551616": {differences.INTEGERS_OF_53_BITS: REFUSED, differences.INTEGERS_OF_64_BITS: REFUSED},
    "1e400": {differences.RANGE_OF_DOUBLES: REFUSED},
    "0.1234567890123456789": {
        differences.DECIMALS_REFUSED: REFUSED,
        differences.DECIMALS_ROUNDED: "0.12345678901234568",
    },
    "-0.0": {differences.NO_NEGATIVE_ZERO: "0"},
    "6.0": {differences.WHOLE_NUMBERS: "6"},
    "1e2": {differences.WHOLE_NUMBERS: "100", differences.REWRITTEN: "100.0"},
    "6": {},
    "-7.25": {},
}
"""Numbers, and what becomes of them where they are not kept as they are written."""


@pytest.mark.parametrize("number", NUMBERS)
async def test_numbers_come_back_as_they_were(system: System, client: Follower, number: str) -> None:
    becomes = (text for difference, text in NUMBERS[number].items() if system.shows(difference))
    returned = next(becomes, number)
    attempt = submit(client, ECHO, ["1", f'{{"k":[{number}]}}'], wait=True)
    if returned is REFUSED:
        with pytest.raises(InvalidParams) as raised:
            await attempt
        refused_at = render_path(raised.value.violations[0].path)
        assert refused_at == "inputs[1].k[0]" or system.shows(differences.DECIMALS_ROUNDED)
        return
    (_, text) = values((await attempt).results)
    assert "".join(str(text).split()) == f'{{"k":[{returned}]}}'


async def test_blobs_come_back_as_they_were(system: System, client: Follower) -> None:
    """On every runtime, but for a server of the document, the id is that of the compact form of the engine."""
    for text, form in COMPACT_FORMS:
        blob_id = await client.put_blob(Blob(text, BlobType.DATA))
        digest = blob_id.removeprefix("sha256:")
        blob = await client.get_blob(blob_id)
        if system.runtime == DOCUMENT:
            assert json.loads(blob.content) == json.loads(text)
        else:
            assert blob == Blob(form, BlobType.DATA)
            assert digest == hashlib.sha256(form.encode()).hexdigest()
        for name in (digest, digest.upper(), f"sha256:{digest}"):
            assert await client.get_blob(name) == blob


BROKEN_SCHEMAS = {
    "input": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    "output": {"type": "string"},
    "variables": {"type": "object", "properties": {"own": {"type": "integer"}}, "required": ["own"]},
}


@pytest.mark.parametrize("part", BROKEN_SCHEMAS)
async def test_schemas_are_not_enforced(system: System, client: Follower, part: str) -> None:
    """The engine checks no input, output or variable against the schemas of a flow, and neither does the gateway."""
    schemas = {"type": "object", "properties": {part: BROKEN_SCHEMAS[part]}}
    output = {"$variable": "own", "default": 7} if part == "variables" else {"$input": "$"}
    flow = json.dumps({"name": "broken", "schemas": schemas, "steps": [], "output": output}, **COMPACT)
    given = {"own": '"text"'} if part == "variables" else {}
    status = await submit(client, flow, ['{"n":"x"}', "3"], wait=True, variables=given)
    assert status.status is RunState.SUCCESS
    if part != "variables":
        assert [json.loads(value or "null") for value in values(status.results)] == [{"n": "x"}, 3]


async def test_bytes_come_back_as_they_were(system: System) -> None:
    binary = Blob(b"\x00\xff", BlobType.DATA)
    if system.shows(differences.NO_BYTES):
        with pytest.raises(InvalidParams):
            await system.grpc.put_blob(binary)
        return
    blob_id = await system.grpc.put_blob(binary)
    assert await system.grpc.get_blob(blob_id) == binary


async def test_the_members_of_a_flow_keep_their_order(client: Follower) -> None:
    flow = '{"steps":[],"name":"zebra","output":{"z":1,"a":{"$input":"$"}}}'
    flow_id = await put_flow(client, flow)
    stored = await client.get_blob(flow_id)
    assert stored.type is BlobType.FLOW
    assert exact(str(stored.content)) == exact(flow)
    assert await put_flow(client, str(stored.content)) == flow_id
    status = await client.submit(SubmitParams(flow_id=flow_id, inputs=["2"], wait=True))
    assert (status.flow_id.removeprefix("sha256:"), status.flow_name) == (flow_id.removeprefix("sha256:"), "zebra")
    assert [outcome(result) for result in status.results or []] == [{"z": 1, "a": 2}]


async def test_a_flow_stored_as_data_runs(system: System, client: Follower) -> None:
    flow = f'{{"name":"{uuid.uuid4()}","steps":[],"output":{{"$input":"$"}}}}'
    flow_id = await client.put_blob(Blob(flow, BlobType.DATA))
    params = SubmitParams(flow_id=flow_id.removeprefix("sha256:"), inputs=["7"], wait=True)
    if system.shows(differences.NO_FLOW_IN_DATA):
        with pytest.raises(FlowNotFound):
            await client.submit(params)
        return
    status = await client.submit(params)
    assert values(status.results) == ["7"]
    assert status.flow_id == "sha256:" + flow_id.removeprefix("sha256:")


async def test_a_path_without_a_dollar_sign_may_have_several_parts(system: System, client: Follower) -> None:
    flow = '{"steps":[],"output":{"short":{"$input":"x.y"},"long":{"$input":"$.x.y"}}}'
    status = await submit(client, flow, ['{"x":{"y":1},"x.y":2}'], wait=True)
    short = 2 if system.shows(differences.SHORT_PATHS) else 1
    assert [outcome(result) for result in status.results or []] == [{"short": short, "long": 1}]


@pytest.mark.parametrize("limit", ["3", '{"$input":"$"}'])
async def test_integers_reach_components(system: System, client: Follower, limit: str) -> None:
    flow = json.loads(SLOW)
    flow["steps"][0]["input"]["max_iterations"] = json.loads(limit)
    flow["output"] = {"$step": "s", "path": "iterations"}
    status = await submit(client, json.dumps(flow), ["3"], wait=True)
    if system.shows(differences.INPUTS_AS_DOUBLES) and limit != "3":
        assert (status.status, status.items.failed) == (RunState.FAILED, 1)
    else:
        assert values(status.results) == ["3"]


UNLIKE_RECORDED = {
    "02_input_paths": differences.SHORT_PATHS,
    "07_variables": differences.NO_VARIABLES,
    "10_map": differences.OTHER_NESTED_CODES,
    "16_undefined_variable": differences.OTHER_CODES,
    "17_integers": differences.INTEGERS_OF_53_BITS,
}
"""Recorded flows that give something else where there is this difference."""


@pytest.mark.parametrize("name", sorted(RECORDED.keys() - REFUSED_FLOWS))
async def test_recorded_flows_give_what_was_recorded(system: System, client: Follower, name: str) -> None:
    document = RECORDED[name]
    returned: Any
    try:
        status = await submit(
            client,
            json.dumps(document["flow"], separators=(",", ":")),
            [json.dumps(value) for value in document["inputs"]],
            wait=True,
            overrides=json.dumps(document["overrides"]) if "overrides" in document else None,
            variables={name: json.dumps(value) for name, value in document.get("variables", {}).items()},
        )
        returned = [outcome(result) for result in status.results or []]
    except InvalidParams as refusal:
        returned = refusal
    recorded = [recorded_outcome(item["result"]) for item in document["expected"]["0.11.1"]["results"]]
    alike = name not in UNLIKE_RECORDED or not system.shows(UNLIKE_RECORDED[name])
    assert (returned == recorded) is alike, returned


def outcome(result: ItemResult) -> Any:
    """The output of an item, or the code and the message of its failure."""
    if result.value is not None:
        return json.loads(result.value)
    assert result.error is not None
    return result.error.code, result.error.message


def recorded_outcome(recorded: dict[str, Any]) -> Any:
    if recorded["outcome"] == "success":
        return recorded["result"]
    return recorded["error"]["code"], recorded["error"]["message"]


def exact(text: str | None) -> Any:
    """A value such that 1 and 1.0, and the order of keys, can be told apart."""
    return json.loads(str(text), parse_int=lambda digits: ("int", digits), object_pairs_hook=tuple)
