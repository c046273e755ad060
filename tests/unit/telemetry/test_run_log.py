from opentelemetry.sdk.trace import TracerProvider

from gateway.telemetry import tracing
from gateway.telemetry.run_log import of_run


def test_only_what_is_known_is_told() -> None:
    assert of_run("r", "t") == {"run_id": "r", "trace_id": "t"}
    assert of_run("r") == {"run_id": "r"}
    assert of_run(None) == {}


def test_the_current_trace_is_that_of_a_run_without_one() -> None:
    with tracing.traced_by(TracerProvider()), tracing.span("a"):
        ids = tracing.ids()
        assert ids is not None
        assert of_run("r") == {"run_id": "r", "trace_id": ids[0]}
        assert of_run("r", "t") == {"run_id": "r", "trace_id": "t"}
