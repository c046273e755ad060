"""The goals for the figures: ratios between variants that were measured in one run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.chart import short
from benchmarks.engine import ORCHESTRATOR
from benchmarks.scenarios import BARE, GATEWAY, NATIVE, QUEUES, UNSCHEDULED, Metrics

Medians = Mapping[str, Mapping[str, Metrics]]
"""Scenario -> variant -> metric -> median."""


@dataclass(frozen=True)
class Goal:
    """A goal. `measured` computes the figure, and raises KeyError if it was not measured."""

    what: str
    wanted: str
    measured: Callable[[Medians], float]
    reached: Callable[[float], bool]

    def row(self, medians: Medians) -> tuple[str, str, str, str]:
        """Return a row of the table: the figure, the goal, the value, and whether the goal was reached."""
        try:
            value = self.measured(medians)
        except KeyError:
            return self.what, self.wanted, "not measured", ""
        return self.what, self.wanted, short(value), "reached" if self.reached(value) else "**below**"


def _ratio(scenario: str, variant: str, metric: str, to: str = BARE) -> Callable[[Medians], float]:
    return lambda medians: medians[scenario][variant][metric] / medians[scenario][to][metric]


def _value(scenario: str, variant: str, metric: str) -> Callable[[Medians], float]:
    return lambda medians: medians[scenario][variant][metric]


def at_least(limit: float) -> Callable[[float], bool]:
    """Return a function that tells whether a value is not below a limit."""
    return lambda value: value >= limit


def at_most(limit: float) -> Callable[[float], bool]:
    """Return a function that tells whether a value is not above a limit."""
    return lambda value: value <= limit


_POLLING, _STREAMS = "polling, 1 change/s", "streams, 1 change/s"

GOALS = (
    Goal(
        "unary SubmitRun, execution included, `:memory:`: calls/s to those of the bare reference, scheduled by default",
        "0.70",
        _ratio("submit", "gateway, :memory:", "calls_per_s", UNSCHEDULED),
        at_least(0.70),
    ),
    Goal(
        "the same, journalled",
        "0.55",
        _ratio("submit", "gateway, journalled", "calls_per_s", UNSCHEDULED),
        at_least(0.55),
    ),
    Goal(
        "the same on the native transport, `:memory:`",
        "2.5",
        _ratio("submit", "gateway, native, :memory:", "calls_per_s", UNSCHEDULED),
        at_least(2.5),
    ),
    Goal(
        "fan-out, 10,000 subscribers of one run: updates/s to those of the bare reference with the same tuning",
        "0.90",
        _ratio("fan-out-10000", GATEWAY, "messages_per_s"),
        at_least(0.90),
    ),
    Goal(
        "the same on the native transport",
        "1.4",
        _ratio("fan-out-10000", NATIVE, "messages_per_s"),
        at_least(1.4),
    ),
    Goal(
        "memory per idle subscriber, to that of the bare reference",
        "at most 1.15",
        _ratio("idle-memory", GATEWAY, "kib_per_subscriber"),
        at_most(1.15),
    ),
    Goal(
        "upstream watches of a run with 10,000 subscribers",
        "1",
        _value("fan-out-10000", GATEWAY, "upstream_watches"),
        at_most(1),
    ),
    Goal(
        "overload, 1,000 subscribers: p99 age of an update, to that with a queue per subscriber",
        "at most 0.05",
        _ratio("overload", GATEWAY, "age_p99_ms", QUEUES),
        at_most(0.05),
    ),
    Goal(
        "a reader that does not read, beside 1,000: their updates/s, to those without it",
        "0.95",
        _ratio("slow-reader", "with", "messages_per_s", "without"),
        at_least(0.95),
    ),
    Goal(
        "the same: growth of the server's memory, MiB",
        "below 1",
        _value("slow-reader", "with", "memory_growth_mib"),
        at_most(1),
    ),
    Goal(
        "reconnect storm of 10,000 streams: served",
        "10,000",
        _value("storm", GATEWAY, "served"),
        at_least(10_000),
    ),
    Goal("the same: reset", "0", _value("storm", GATEWAY, "reset"), at_most(0)),
    Goal(
        "1 MB of input from the text lane to the body of a JSON-RPC request: faster than `json_format` by",
        "30",
        _value("translation", "1 MB", "ratio"),
        at_least(30),
    ),
    Goal(
        "following by streams against polling every 100 ms, 1,000 subscribers, one change a second: server CPU",
        "at most 0.10",
        _ratio("polling", _STREAMS, "cpu_share", _POLLING),
        at_most(0.10),
    ),
    Goal(
        "the same: median age of a change",
        "below 1",
        _ratio("polling", _STREAMS, "age_p50_ms", _POLLING),
        at_most(1),
    ),
    Goal(
        "sequential SubmitRun with wait through the gateway: median, to that of the orchestrator's own gRPC",
        "at most 0.125",
        _value("engine", ORCHESTRATOR, "ratio"),
        at_most(1 / 8),
    ),
)
