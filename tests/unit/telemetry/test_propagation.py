import subprocess
import sys

import pytest

from gateway.telemetry import propagation, tracing
from gateway.telemetry.propagation import MOST_CARRIED, carried_fields, read_context, write_context
from tests.support.session import coverage_settings

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MEMBERS = ",".join(f"name{number}={'x' * 80}" for number in range(90))
"""More baggage than goes on."""
STATE = ",".join(f"v{number}={'x' * 240}" for number in range(32))


def test_the_usual_headers_are_those_of_the_w3c() -> None:
    assert set(carried_fields()) == {"traceparent", "tracestate", "baggage"}


def test_a_context_comes_as_it_went() -> None:
    carrier = {"traceparent": PARENT, "tracestate": "a=b", "baggage": "c=d"}
    assert write_context(read_context(carrier)) == carrier


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"baggage": MEMBERS}, set()),
        ({"tracestate": STATE}, set()),
        ({"tracestate": STATE, "baggage": "c=d"}, {"baggage"}),
        ({"tracestate": "a=b", "baggage": MEMBERS}, {"tracestate"}),
    ],
)
def test_what_finds_no_room_does_not_go_on(given: dict[str, str], left: set[str]) -> None:
    written = write_context(read_context({"traceparent": PARENT, **given}))
    assert written.keys() == {"traceparent", *left}
    assert written["traceparent"] == PARENT
    assert sum(map(len, written.values())) <= MOST_CARRIED


def test_headers_that_are_not_installed_break_nothing() -> None:
    program = "from gateway.telemetry import propagation as p; print(sorted(p.carried_fields())); p.check_propagators()"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**coverage_settings(), "OTEL_PROPAGATORS": "no-such-one"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == "['baggage', 'traceparent', 'tracestate']\n"
    assert ended.stderr.splitlines()[-1].startswith("gateway.telemetry.propagation.UnknownPropagator: ")
    assert "no-such-one" in ended.stderr


async def test_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagation, "_configured", lambda: "not installed")
    assert tracing.extracted({"traceparent": PARENT}) is not None
    with pytest.raises(propagation.UnknownPropagator):
        propagation.check_propagators()
