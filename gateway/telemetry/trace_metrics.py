"""What is counted of spans on their way to a collector."""

from typing import Final

from gateway.telemetry.metrics import Counter

LOST: Final = Counter(
    "runs_gateway_spans_lost_total",
    "Spans that did not reach the collector: it was away, refused them, or was too slow.",
).labels()
