"""Figures: rates from one look at the metrics to the next, quantiles, and what is not known."""

import json

import pytest

from gateway.cli.figures import figures_of
from gateway.cli.metrics_source import MetricsUnreadable, Scrape

TEXT = """
grpc_server_started_total{{grpc_type="unary",grpc_method="SubmitRun"}} {calls}
grpc_server_started_total{{grpc_type="server_stream",grpc_method="GetRun"}} 5
grpc_server_handled_total{{grpc_code="OK"}} {calls}
grpc_server_handled_total{{grpc_code="NotFound"}} {calls}
grpc_server_handled_total{{grpc_code="Internal"}} {errors}
grpc_server_msg_sent_total{{grpc_type="unary"}} {calls}
grpc_server_msg_sent_total{{grpc_type="server_stream"}} {sent}
grpc_server_msg_sent_total{{grpc_type="bidi_stream"}} {sent}
grpc_server_handling_seconds_bucket{{grpc_type="unary",le="0.1"}} {calls}
grpc_server_handling_seconds_bucket{{grpc_type="unary",le="+Inf"}} {calls}
grpc_server_handling_seconds_bucket{{grpc_type="server_stream",le="+Inf"}} 1000
jsonrpc_server_started_total{{jsonrpc_method="runs/get",origin="client"}} {calls}
jsonrpc_server_started_total{{jsonrpc_method="runs/get",origin="component"}} {sent}
runs_gateway_memory_bytes{{use="inputs"}} 3
runs_gateway_memory_bytes{{use="results"}} 4
runs_gateway_memory_limit_bytes 10
runs_gateway_open_streams{{method="GetRun"}} 2
runs_gateway_component_server_up{{prefix="/a"}} 1
runs_gateway_component_server_up{{prefix="/b"}} 0
runs_gateway_component_executions_total{{prefix="/a",outcome="ok"}} {calls}
runs_gateway_component_executions_total{{prefix="/a",outcome="error"}} {errors}
runs_gateway_build_info{{version="1.2"}} 1
process_cpu_seconds_total{{process="gateway"}} {errors}
process_cpu_seconds_total{{process="worker-1"}} {errors}
"""


def scrape(moment: float, calls: int = 0, errors: int = 0, sent: int = 0) -> Scrape:
    return Scrape(TEXT.format(calls=calls, errors=errors, sent=sent), moment)


def test_rates_are_growth_by_time() -> None:
    figures = figures_of(scrape(100, calls=10, errors=1, sent=5), scrape(102, calls=30, errors=2, sent=15))
    assert figures.calls_per_second == {"grpc": 10, "jsonrpc": 10}
    assert figures.errors_per_second == 0.5
    assert figures.updates_per_second == 10
    assert figures.latency_seconds == {"p50": pytest.approx(0.05), "p99": pytest.approx(0.099)}
    assert figures.memory == {"limit": 10, "used": 7}
    assert figures.open_streams == {"GetRun": 2}
    assert figures.version == "1.2"
    assert figures.cpus == 1
    assert [(each.prefix, each.up, each.executions_per_second) for each in figures.components] == [
        ("/a", True, 10.5),
        ("/b", False, None),
    ]
    assert [each.errors_per_second for each in figures.components] == [0.5, 0]


def test_without_an_earlier_look_there_are_no_rates() -> None:
    figures = figures_of(None, scrape(100, calls=10))
    assert figures.calls_per_second == {"grpc": None, "jsonrpc": None}
    assert (figures.errors_per_second, figures.updates_per_second) == (None, None)
    assert figures.latency_seconds == {"p50": None, "p99": None}
    assert figures.memory["used"] == 7


def test_a_gateway_that_was_started_anew_has_no_rates_for_a_while() -> None:
    figures = figures_of(scrape(100, calls=50, errors=5), scrape(101, calls=1))
    assert figures.calls_per_second["jsonrpc"] is None
    assert figures.errors_per_second is None
    assert figures.latency_seconds == {"p50": None, "p99": None}


def test_a_gateway_that_tells_nothing_has_no_figures() -> None:
    figures = figures_of(Scrape("", 1), Scrape("", 2))
    told = json.loads(figures.to_json())
    assert {name for name, value in told.items() if value is not None} == {
        *("calls_per_second", "latency_seconds", "runs_per_second", "open_streams", "followers"),
        *("memory", "items", "event_loop_turn_seconds", "components"),
    }
    assert told["calls_per_second"] == {"grpc": None, "jsonrpc": None}


@pytest.mark.parametrize("text", ["<html>", "a{", "a b c d", "x{y=1} 2", "a\x00 1"])
def test_what_is_no_metrics_is_told(text: str) -> None:
    with pytest.raises(MetricsUnreadable, match="what is there is not metrics"):
        Scrape(text, 0)
