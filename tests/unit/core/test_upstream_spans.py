from collections.abc import Iterator

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from gateway.core.errors import RunNotFound, Unavailable
from gateway.core.upstream_spans import UpstreamSpans
from gateway.telemetry import tracing
from tests.support.traces import MadeSpans, child_of, gateway_spans


@pytest.fixture
def spans() -> Iterator[MadeSpans]:
    with gateway_spans() as made:
        yield made


@pytest.fixture
def upstream() -> UpstreamSpans:
    return UpstreamSpans("https://user:secret@example.test:8443/rpc")


def test_a_method_is_a_child_of_the_current_span_and_carries_it(spans: MadeSpans, upstream: UpstreamSpans) -> None:
    with tracing.span("served"), upstream.jsonrpc("runs/get") as span:
        carried = dict(span.headers)
    made = spans.one("runs/get")
    assert child_of(made, spans.one("served"))
    assert made.kind is SpanKind.CLIENT
    assert f"-{made.context.span_id:016x}-" in carried["traceparent"]
    assert made.attributes is not None
    assert made.attributes["rpc.system"] == "jsonrpc"
    assert (made.attributes["server.address"], made.attributes["server.port"]) == ("example.test", 8443)
    assert not any("secret" in str(value) for value in made.attributes.values())


def test_an_error_of_the_upstream_has_its_code(spans: MadeSpans, upstream: UpstreamSpans) -> None:
    with tracing.span("served"):
        with pytest.raises(RunNotFound), upstream.jsonrpc("runs/get"):
            raise RunNotFound("no")
        with pytest.raises(Unavailable), upstream.jsonrpc("runs/list"):
            raise Unavailable("away")
    refused, away = spans.one("runs/get"), spans.one("runs/list")
    assert refused.status.status_code is away.status.status_code is StatusCode.ERROR
    assert refused.attributes is not None
    assert refused.attributes["rpc.jsonrpc.error_code"] == RunNotFound("no").jsonrpc_code
    assert refused.attributes["error.type"] == str(RunNotFound("no").jsonrpc_code)
    assert away.attributes is not None
    assert away.attributes["error.type"] == "Unavailable"
    assert "rpc.jsonrpc.error_code" not in away.attributes


def test_requests_are_named_without_ids(spans: MadeSpans, upstream: UpstreamSpans) -> None:
    paths = ("/api/v1/runs/019b0000-0000-7000-8000-000000000000/items?limit=5", f"/api/v1/blobs/{'ab' * 32}")
    with tracing.span("served"):
        for path in paths:
            with upstream.http("GET", path) as span:
                span.answered(404)
    named = [span for span in spans.all if span.name != "served"]
    assert [span.name for span in named] == ["GET /api/v1/runs/{id}/items", "GET /api/v1/blobs/{id}"]
    for made in named:
        assert made.status.status_code is StatusCode.ERROR
        assert made.attributes is not None
        assert made.attributes["http.response.status_code"] == 404


def test_what_belongs_to_no_trace_has_no_span(spans: MadeSpans, upstream: UpstreamSpans) -> None:
    with upstream.jsonrpc("runs/get") as span, upstream.http("GET", "/") as other:
        other.answered(500)
    assert span.headers == other.headers == {}
    assert spans.all == ()


def test_nothing_is_made_while_tracing_is_off(upstream: UpstreamSpans) -> None:
    assert upstream.jsonrpc("runs/get") is upstream.http("GET", "/")
