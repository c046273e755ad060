import pytest
from opentelemetry import baggage

from gateway.cli.trace_context import in_trace_of_environment
from gateway.telemetry import tracing
from tests.support.traces import parent


def test_the_trace_of_the_environment_is_current_in_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", parent().header)
    monkeypatch.setenv("TRACESTATE", "a=b")
    monkeypatch.setenv("BAGGAGE", "who=me")
    with in_trace_of_environment():
        carried = tracing.injected()
        assert baggage.get_baggage("who") == "me"
    assert (carried["traceparent"], carried["tracestate"]) == (parent().header, "a=b")
    assert tracing.ids() is None


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-01"])
def test_what_is_no_trace_is_ignored(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", header)
    with in_trace_of_environment():
        assert tracing.ids() is None
