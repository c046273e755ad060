import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode

from gateway.core.model import ObservabilityContext, RunState, SubmitParams
from gateway.flows import run_trace
from gateway.flows.new_record import new_record
from gateway.flows.run_trace import MAX_ITEM_SPANS, RunTrace, with_context
from gateway.telemetry import tracing
from gateway.telemetry.execution_spans import attached
from tests.support.component_server import Call, ComponentServer
from tests.support.embedded import Accepted, Embedded, opened
from tests.support.spans import EndedSpans, ids_of, recorded_spans

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
CARRIED = {"traceparent": PARENT, "tracestate": "a=b", "baggage": "user=x"}
IDENTITY = {"output": {"$input": "$"}}
MISSING = {"output": {"$input": "missing"}}


def step(component: str, value: Any = None, **more: Any) -> dict[str, Any]:
    """A flow of one step."""
    value = {"$input": "$"} if value is None else value
    return {"steps": [{"id": "s", "component": component, "input": value, **more}], "output": {"$step": "s"}}


MESSAGES = step("/builtin/create_messages", {"user_prompt": "hello"})


@pytest.fixture
def spans() -> Iterator[EndedSpans]:
    with recorded_spans() as spans:
        yield spans


async def run_in_span(embedded: Embedded, flow: Any, *inputs: Any) -> None:
    with tracing.span("call"):
        await embedded.submit(flow, *inputs)


async def test_items_are_below_the_call_that_submits(spans: EndedSpans) -> None:
    async with opened() as embedded:
        await embedded.start()
        await run_in_span(embedded, IDENTITY, 1, 2)
    assert spans.ways() == [["call"], ["call", "item"], ["call", "item"]]
    first, second = spans.named("item")
    assert (first.attributes or {})["runs.item.index"] == 0
    assert (second.attributes or {})["runs.item.index"] == 1
    assert (first.attributes or {})["runs.run.id"] == (second.attributes or {})["runs.run.id"]


@pytest.mark.parametrize("items", [1, 17, 300])
async def test_an_item_that_is_evaluated_has_one_span_however_many_there_are(spans: EndedSpans, items: int) -> None:
    async with opened() as embedded:
        await embedded.start()
        await run_in_span(embedded, MISSING, *({} for _ in range(items)))
    found = spans.named("item", error_type="-32200")
    assert sorted((span.attributes or {})["runs.item.index"] for span in found) == [*range(items)]  # type: ignore[type-var]
    assert {span.status.status_code for span in found} == {StatusCode.ERROR}
    assert {span.status.description for span in found} == {None}
    assert all(span.start_time and span.end_time and span.start_time <= span.end_time for span in found)


async def test_steps_are_below_their_items(spans: EndedSpans) -> None:
    async with opened() as embedded:
        await embedded.start()
        await run_in_span(embedded, MESSAGES, 1, 2)
    assert spans.ways() == [["call"], *[["call", "item"]] * 2, *[["call", "item", "step"]] * 2]
    assert spans.named("step", runs_step_id="s", runs_component="/builtin/create_messages")


async def test_flows_that_run_in_place_and_runs_in_runs_are_below_their_steps(spans: EndedSpans) -> None:
    inner = {"steps": MESSAGES["steps"], "output": {"result": {"$step": "s"}}}
    iterate = step("/builtin/iterate", {"flow": {"$literal": inner}, "initial_input": 1})
    mapped = step("/builtin/map", {"workflow": {"$literal": iterate}, "items": [1, 2]})
    async with opened() as embedded:
        await embedded.start()
        await run_in_span(embedded, mapped, 1)
    below = ["call", "item", "step", "item", "step", "step"]
    assert spans.ways() == [
        *[below[:length] for length in (1, 2, 3)],
        *[below[:4]] * 2,
        *[below[:5]] * 2,
        *[below] * 2,
    ]


async def test_a_step_notes_the_attempts_that_failed(spans: EndedSpans) -> None:
    async def script(call: Call) -> None:
        if call.message["method"] == "components/execute" and call.message["params"]["attempt"] == 2:
            await call.result({"output": 1})
        elif call.message["method"] == "components/execute":
            await call.error(-32100, "secret")
        else:
            await call.result({})

    server = ComponentServer(script)
    async with server.running() as url, opened(components={"/sdk": url}) as embedded:
        await embedded.start()
        await run_in_span(embedded, step("/sdk/double", onError={"action": "retry", "maxRetries": 1}), 1)
    made = spans.only("step")
    assert [(event.name, dict(event.attributes or {})) for event in made.events] == [
        ("attempt failed", {"runs.attempt": 1, "error.type": "-32100"})
    ]
    assert made.status.status_code is StatusCode.UNSET
    first, second = spans.named("components/execute")
    assert first.parent == second.parent == made.context
    assert ((first.attributes or {})["runs.attempt"], (second.attributes or {})["runs.attempt"]) == (1, 2)
    assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert "secret" not in str([span.to_json() for span in spans.all()])


async def test_a_step_that_fails_fails_its_item(spans: EndedSpans) -> None:
    async with opened() as embedded:
        await embedded.start()
        await run_in_span(embedded, step("/builtin/get_blob", {"blob_id": 5}), 1)
    assert spans.only("step").status.status_code is spans.only("item").status.status_code is StatusCode.ERROR
    assert (spans.only("step").attributes or {})["error.type"] == "-32103"


async def test_a_run_that_is_found_again_makes_no_spans(spans: EndedSpans) -> None:
    async with opened() as embedded:
        await embedded.start()
        for _ in range(2):
            await embedded.submit(IDENTITY, 1, idempotency_key="k")
            await embedded.submit(MESSAGES, 1, idempotency_key="l")
    assert len(spans.named("item")) == 2


async def test_what_a_cancel_stops_has_ended_spans(spans: EndedSpans) -> None:
    began = asyncio.Event()

    async def script(call: Call) -> None:
        began.set()
        await call.closed()

    server = ComponentServer(script)
    async with server.running() as url, opened(components={"/sdk": url}) as embedded:
        await embedded.start()
        run = await embedded.submit(step("/sdk/double"), 1, wait=False)
        await began.wait()
        await embedded.runtime.cancel(run.run_id, None)
        assert (await embedded.wait(run.run_id)).status is RunState.CANCELLED
    assert [(span.name, [event.name for event in span.events]) for span in spans.all()] == [
        ("components/execute", ["cancelled"]),
        ("step", ["cancelled"]),
        ("item", ["cancelled"]),
    ]


async def test_a_run_goes_on_in_its_trace_after_a_restart(spans: EndedSpans, tmp_path: Path) -> None:
    began, parents = asyncio.Event(), []

    async def script(call: Call) -> None:
        parents.append([call.headers.get(name) for name in ("traceparent", "tracestate", "baggage")])
        if began.is_set():
            await call.result({"output": 1})
        else:
            began.set()
            await call.closed()

    server = ComponentServer(script)
    async with server.running() as url:
        async with opened(tmp_path / "state", components={"/sdk": url}) as embedded:
            await embedded.start()
            with tracing.span("call", parent=tracing.extracted(CARRIED)):
                run = await embedded.submit(step("/sdk/double"), 1, wait=False)
            await began.wait()
        assert [event.name for event in spans.only("item").events] == ["stopped"]
        async with opened(tmp_path / "state", components={"/sdk": url}) as embedded:
            await embedded.start()
            assert (await embedded.wait(run.run_id)).status is RunState.SUCCESS
    ways = [spans.way(span)[1:] for span in spans.all() if span.name != "call"]
    assert ways == [["call", "item", "step", "components/execute"][:length] for length in (4, 3, 2, 4, 3, 2)]
    assert {ids_of(span)[0] for span in spans.all()} == {TRACE_ID}
    executions = [ids_of(span) for span in spans.named("components/execute")]
    assert parents == [[f"00-{trace_id}-{span_id}-01", "a=b", "user=x"] for trace_id, span_id in executions]


async def test_a_run_from_before_tracing_is_in_the_trace_that_its_caller_named(tmp_path: Path) -> None:
    observability = ObservabilityContext(trace_id=TRACE_ID, span_id=SPAN_ID, extensions={"carried": "[1]"})
    async with opened(tmp_path / "state") as embedded:
        accepted = Accepted(embedded)
        await embedded.start()
        await embedded.submit(MESSAGES, 1, observability=observability)
    (record,) = accepted.records
    with recorded_spans() as spans, RunTrace.of_record(record).item(0):
        pass
    made = spans.only("item")
    assert made.parent is not None
    assert (ids_of(made)[0], trace.format_span_id(made.parent.span_id)) == (TRACE_ID, SPAN_ID)


async def test_of_a_run_of_many_items_the_first_ones_have_spans(spans: EndedSpans) -> None:
    async with opened() as embedded:
        await embedded.start()
        await run_in_span(embedded, IDENTITY, *range(MAX_ITEM_SPANS + 10))
    assert len(spans.named("item")) == MAX_ITEM_SPANS


async def test_further_items_go_on_in_the_trace_as_one_that_is_not_sampled(
    spans: EndedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_trace, "MAX_ITEM_SPANS", 1)
    parents = []

    async def script(call: Call) -> None:
        parents.append(call.headers["traceparent"])
        await call.result({"output": 1})

    server = ComponentServer(script)
    async with server.running() as url, opened(components={"/sdk": url}) as embedded:
        await embedded.start()
        await run_in_span(embedded, step("/sdk/double"), 1, 2, 3)
    assert [span.name for span in spans.all()].count("components/execute") == 1
    assert len(spans.named("step")) == len(spans.named("item")) == 1
    trace_id = ids_of(spans.only("call"))[0]
    assert {parent[3:35] for parent in parents} == {trace_id}
    assert sorted(int(parent[-2:]) & 1 for parent in parents) == [0, 0, 1]


async def test_what_is_not_sampled_makes_no_spans(spans: EndedSpans) -> None:
    parents = []

    async def script(call: Call) -> None:
        parents.append(call.headers["traceparent"])
        await call.result({"output": 1})

    server = ComponentServer(script)
    async with server.running() as url, opened(components={"/sdk": url}) as embedded:
        await embedded.start()
        with tracing.span("call", parent=tracing.extracted({"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"})):
            await embedded.submit(step("/sdk/double"), 1)
            await embedded.submit(IDENTITY, 1)
    assert spans.all() == ()
    assert [(parent[3:35], parent[-2:]) for parent in parents] == [(TRACE_ID, "00")]


async def test_results_are_kept_outside_of_the_call(spans: EndedSpans) -> None:
    seen = []
    async with opened() as embedded:
        complete = embedded.journal.complete

        async def noted(*arguments: Any) -> None:
            seen.append(tracing.ids())
            await complete(*arguments)

        embedded.journal.complete = noted  # type: ignore[method-assign, assignment]
        await embedded.start()
        await run_in_span(embedded, MESSAGES, 1)
        await run_in_span(embedded, MESSAGES, 1, 2)
    assert set(seen) == {None}


RECORD = new_record(SubmitParams(flow_id="f", inputs=["1"]), "", None, None, "", run_timeout=None)


def kept(given: ObservabilityContext | None) -> Any:
    """What is kept of the trace of a run that is submitted now."""
    text = with_context(RECORD, given).observability
    return None if text is None else json.loads(text)


def test_nothing_is_kept_of_a_call_without_a_trace(spans: EndedSpans) -> None:
    assert with_context(RECORD, ObservabilityContext(trace_id="x")) is RECORD


def test_while_tracing_is_off_the_record_stays_as_it_is() -> None:
    with trace.use_span(TracerProvider().get_tracer("t").start_span("call"), end_on_exit=True):
        assert with_context(RECORD, None) is RECORD


def test_the_context_is_kept_beside_what_the_caller_gave(spans: EndedSpans) -> None:
    with attached(tracing.extracted(CARRIED) or Context()):
        given = ObservabilityContext(run_id="r", trace_id="x", extensions={"more": "1"})
        assert kept(given) == {
            "trace_id": TRACE_ID,
            "span_id": SPAN_ID,
            "run_id": "r",
            "more": 1,
            "carried": CARRIED,
        }


def test_a_long_baggage_is_not_kept(spans: EndedSpans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_trace, "MAX_CARRIED", 100)
    with attached(baggage.set_baggage("long", "x" * 100, tracing.extracted(CARRIED))):
        found = kept(None)
    assert found == {
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "carried": {"traceparent": PARENT, "tracestate": "a=b"},
    }
