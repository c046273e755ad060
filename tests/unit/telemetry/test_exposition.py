"""Metrics as Prometheus reads them, by the parsers of its own client."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.telemetry.exposition import encoder_for, exposition
from gateway.telemetry.metrics import MetricFamily

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FAMILIES = [
    MetricFamily("calls_total", "counter", "Calls.", ("method",), [(('a"\\\n',), [3]), (("b",), [2.5])]),
    MetricFamily("open", "gauge", "What is open.", (), [((), [-1])]),
    MetricFamily("none_total", "counter", "Nothing yet.", ("why",), []),
    MetricFamily("seconds", "histogram", "How long.", ("method",), [(("a",), [1, 2, 4, 9.5])], (0.1, 1)),
]


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_the_parsers_of_prometheus_read_what_was_counted(accept: str) -> None:
    encoder, media_type = encoder_for(accept)
    text = exposition(FAMILIES, encoder).decode()
    assert media_type.startswith("application/openmetrics-text" if accept else "text/plain; version=0.0.4")
    found = [*(parse_openmetrics if accept else parse_text)(text)]
    samples = {
        (each.name, *sorted(each.labels.values(), reverse=True)): each.value
        for family in found
        for each in family.samples
    }
    assert samples == {
        ("calls_total", 'a"\\\n'): 3,
        ("calls_total", "b"): 2.5,
        ("open",): -1,
        ("seconds_bucket", "a", "0.1"): 1,
        ("seconds_bucket", "a", "1.0"): 3,
        ("seconds_bucket", "a", "+Inf"): 7,
        ("seconds_count", "a"): 7,
        ("seconds_sum", "a"): 9.5,
    }
    assert {family.type for family in found} == {"counter", "gauge", "histogram"}


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=a.b",
        "application/openmetrics-text;version=9.\udcff",
        "application/openmetrics-text;version=1.0.\x01",
        "text/plain;version=" + "9" * 5_000,
        "text/plain;version=x",
        ",;=" * 10_000,
        "text/html",
    ],
)
def test_who_asks_for_what_there_is_not_gets_text(accept: str) -> None:
    encoder, media_type = encoder_for(accept)
    assert media_type.startswith("text/plain")
    assert exposition(FAMILIES, encoder).startswith(b"# HELP")
