from collections.abc import Mapping
from typing import Any

import pytest

from gateway.server.overview_numbers import OverviewNumbers, Sample, quantile, sample
from gateway.telemetry.metrics import MetricFamily

GRPC = ("grpc_type", "grpc_service", "grpc_method", "grpc_code")
JSONRPC = ("jsonrpc_method", "origin", "jsonrpc_code")


def counter(name: str, values: Mapping[Any, float], labels: tuple[str, ...] = ()) -> MetricFamily:
    return MetricFamily(name, "counter", "", labels, [(key, [value]) for key, value in values.items()])


def gauge(name: str, values: Mapping[Any, float], labels: tuple[str, ...] = ()) -> MetricFamily:
    return MetricFamily(name, "gauge", "", labels, [(key, [value]) for key, value in values.items()])


def handled(ok: float, not_found: float = 0, left: float = 0) -> MetricFamily:
    place = ("unary", "runs.v1.RunsService", "SubmitRun")
    codes = {(*place, "OK"): ok, (*place, "NotFound"): not_found, (*place, "Canceled"): left}
    return counter("grpc_server_handled_total", codes, GRPC)


def jsonrpc(ok: float, failed: float, of_components: float) -> MetricFamily:
    codes = {
        ("runs/get", "client", "ok"): ok,
        ("runs/get", "client", "-32001"): failed,
        ("runs/submit", "component", "-32001"): of_components,
    }
    return counter("jsonrpc_server_handled_total", codes, JSONRPC)


def durations(counts: list[float], kind: str = "unary") -> MetricFamily:
    labels = ("grpc_type", "grpc_service", "grpc_method")
    values = ((kind, "runs.v1.RunsService", "SubmitRun"), [*counts, 0.0])
    return MetricFamily("grpc_server_handling_seconds", "histogram", "", labels, [values], (1.0, 2.0))


def told(*samples: Sample) -> dict[str, Any]:
    numbers = OverviewNumbers()
    *_, last = [numbers.of(each) for each in samples]
    return last


def leaves(value: Any) -> list[Any]:
    return [leaf for each in value.values() for leaf in leaves(each)] if isinstance(value, dict) else [value]


def test_what_nobody_counts_is_null() -> None:
    numbers = OverviewNumbers()
    for time in (1, 2):
        assert set(leaves(numbers.of(sample(time, [[]])))) == {None}
    assert numbers.of_components("/t") == {"executions": None, "errors": None}


def test_a_first_sample_has_no_rates() -> None:
    first = told(sample(1, [[handled(5)], [gauge("runs_gateway_followed_runs", {(): 3})]]))
    assert first["calls_per_second"] == {"grpc": None, "jsonrpc": None}
    assert first["latency_seconds"] == {"p50": None, "p90": None, "p99": None}
    assert first["followed_runs"] == 3


def test_rates_are_of_all_processes_and_of_the_time_that_has_passed() -> None:
    last = told(
        sample(10, [[handled(100), jsonrpc(0, 0, 0)], [handled(100)]]),
        sample(12, [[handled(110, 3, 4), jsonrpc(8, 1, 50)], [handled(190)]]),
    )
    assert last["calls_per_second"] == {"grpc": (10 + 3 + 4 + 90) / 2, "jsonrpc": 9 / 2}
    assert last["errors_per_second"] == (3 + 1) / 2


def test_a_counter_that_is_less_than_before_tells_no_negative_rate() -> None:
    assert told(sample(1, [[handled(100)]]), sample(2, [[handled(50)]]))["calls_per_second"]["grpc"] == 0


def test_gauges_are_told_as_they_are() -> None:
    families = [
        gauge("runs_gateway_memory_bytes", {("results",): 10, ("inputs",): 5}, ("use",)),
        gauge("runs_gateway_memory_limit_bytes", {(): 100}),
        gauge("runs_gateway_open_streams", {("GetRun",): 2}, ("method",)),
        gauge("runs_gateway_followers", {("status",): 4}, ("kind",)),
        gauge("runs_gateway_items_executing", {(): 7}),
        gauge("runs_gateway_state_file_bytes", {(): 0}),
    ]
    last = told(sample(1, [families, families]))
    assert last["memory"] == {"limit": 200, "used": 30, "uses": {"results": 20, "inputs": 10}}
    assert last["open_streams"] == {"GetRun": 4}
    assert last["followers"] == {"status": 8}
    assert last["items"] == {"executing": 14, "waiting": None}
    assert last["state_file_bytes"] is None


def test_latencies_are_those_of_the_last_seconds_without_streams() -> None:
    numbers = OverviewNumbers()
    numbers.of(sample(0, [[durations([1_000, 0, 0])]]))
    last = numbers.of(sample(1, [[durations([1_000, 10, 0]), durations([0, 0, 9], "server_stream")]]))
    assert last["latency_seconds"] == {"p50": 1.5, "p90": 1.9, "p99": pytest.approx(1.99)}
    for time in range(2, 12):
        last = numbers.of(sample(time, [[durations([1_000, 10, 0])]]))
    assert last["latency_seconds"]["p50"] is None


def test_components_are_told_one_by_one() -> None:
    outcomes = {("/a", "ok"): 5, ("/a", "error"): 2, ("/a", "cancelled"): 1, ("/b", "ok"): 9}
    numbers = OverviewNumbers()
    family = counter("runs_gateway_component_executions_total", outcomes, ("prefix", "outcome"))
    numbers.of(sample(1, [[family]]))
    assert numbers.of_components("/a") == {"executions": 8, "errors": 2}
    assert numbers.of_components("/c") == {"executions": 0, "errors": 0}


@pytest.mark.parametrize(
    ("counts", "found"),
    [([], None), ([0, 0, 0], None), ([4, 0, 0], 0.5), ([1, 1, 0], 1.0), ([0, 4, 0], 1.5), ([0, 0, 3], 2.0)],
)
def test_quantiles_are_within_buckets(counts: list[float], found: float | None) -> None:
    assert quantile(0.5, (1.0, 2.0), counts) == found
