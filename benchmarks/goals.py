"""The goals for the figures: ratios between variants that were measured in one run."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.chart import short
from benchmarks.command_line import GET
from benchmarks.engine import ORCHESTRATOR
from benchmarks.observed import NOTHING, OBSERVED, TRACED, UNTRACED
from benchmarks.overloaded import WAYS
from benchmarks.scenarios import BARE, BARE_NATIVE, GATEWAY, NATIVE, QUEUES, Metrics
from benchmarks.secured import BARE_SECURED, SECURED
from benchmarks.submits import JOURNALLED, JSON_RPC, NATIVE_JOURNALLED, ON_GRPCIO, ON_NATIVE

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

OLD_BARE_CALL = 29.0
"""The processor time of a call to the bare native transport, in microseconds, where the goals of 15 and 2 microseconds
were set. They are measured as parts of such a call, which other machines have as well."""

RELAYING, TELLING = 15 / OLD_BARE_CALL, 2 / OLD_BARE_CALL


def _of_bare_call(scenario: str, variant: str, metric: str) -> Callable[[Medians], float]:
    return lambda medians: medians[scenario][variant][metric] / medians["submit"][BARE_NATIVE]["cpu_us_per_call"]


def _slowest(variant: str, to: str) -> Callable[[Medians], float]:
    """Return the largest of the ratios of the mean, the median and the 99th percentile."""
    ratios = [_ratio("sequential", variant, metric, to) for metric in ("mean_us", "p50_us", "p99_us")]
    return lambda medians: max(ratio(medians) for ratio in ratios)


def _sequential() -> Iterator[Goal]:
    for name, variant, limit in (
        ("native", ON_NATIVE, 1.2),
        ("grpcio", ON_GRPCIO, 1.7),
        ("native, journalled", NATIVE_JOURNALLED, 2.0),
    ):
        what = f"one SubmitRun after the other, {name}: mean time to that of the bare native transport"
        yield Goal(what, f"at most {limit}", _ratio("sequential", variant, "mean_us", BARE_NATIVE), at_most(limit))
    for name, variant, bare in (
        ("native", ON_NATIVE, BARE_NATIVE),
        ("grpcio", ON_GRPCIO, BARE),
        ("JSON-RPC", JSON_RPC, BARE),
    ):
        what = f"the same, {name}: mean, median or p99, the worst of them, to that of the {bare}"
        yield Goal(what, "at most 1.3", _slowest(variant, bare), at_most(1.3))


def _workers(transport: str) -> Iterator[Goal]:
    one, two = f"one process, {transport}", f"2 workers, {transport}"
    yield Goal(
        f"2 workers, {transport}, on two cores shared with the load: calls/s to those of one process",
        "above 1.0",
        _ratio("workers", two, "calls_per_s", one),
        at_least(1.0),
    )
    yield Goal(
        "the same: processor time of a call, in all processes, to that of one process",
        "at most 1.5",
        _ratio("workers", two, "cpu_us_per_call", one),
        at_most(1.5),
    )
    yield Goal(
        "the same: that of the process with the runtime, beyond executing, to a call of the bare native transport",
        f"at most {RELAYING:.2f}",
        _of_bare_call("workers", two, "relaying_us_per_call"),
        at_most(RELAYING),
    )


def _overload() -> Iterator[Goal]:
    for way in WAYS:
        what = f"overload by one identity, {way}: p99 of the other one, within its limit, to that alone"
        yield Goal(what, "at most 3", _value("overload-callers", way, "ratio"), at_most(3.0))
        refused = _value("overload-callers", way, "refused_p99_ms")
        yield Goal("the same: p99 of a refusal, in ms", "at most 50", refused, at_most(50.0))


def _observed() -> Iterator[Goal]:
    for what, scenario, metric in (
        ("SubmitRun", "observed-submits", "calls_per_s"),
        ("updates of a run", "observed-updates", "messages_per_s"),
    ):
        for name, variant, to, limit in (
            ("metrics, to a gateway without their code", OBSERVED, NOTHING, 0.97),
            ("traces that are off, to a gateway without their code", OBSERVED, UNTRACED, 0.99),
            ("traces that are on, to those that are off", TRACED, OBSERVED, 0.80),
        ):
            yield Goal(f"{what} with {name}", str(limit), _ratio(scenario, variant, metric, to), at_least(limit))


GOALS = (
    Goal(
        "unary SubmitRun, execution included, `:memory:`: calls/s to those of the bare reference, scheduled alike",
        "0.85",
        _ratio("submit", ON_GRPCIO, "calls_per_s"),
        at_least(0.85),
    ),
    Goal("the same, journalled", "0.75", _ratio("submit", JOURNALLED, "calls_per_s"), at_least(0.75)),
    Goal(
        "the same on the native transport, `:memory:`: to those of the bare native transport",
        "0.70",
        _ratio("submit", ON_NATIVE, "calls_per_s", BARE_NATIVE),
        at_least(0.70),
    ),
    Goal(
        "the same, journalled", "0.50", _ratio("submit", NATIVE_JOURNALLED, "calls_per_s", BARE_NATIVE), at_least(0.50)
    ),
    Goal(
        "the same over JSON-RPC, `:memory:`: to those of the bare reference",
        "2.7",
        _ratio("submit", JSON_RPC, "calls_per_s"),
        at_least(2.7),
    ),
    Goal(
        "SubmitRun over TLS with a token, `:memory:`: calls/s to those of a bare reference with TLS and an interceptor",
        "0.9",
        _ratio("secured-submits", SECURED, "calls_per_s", BARE_SECURED),
        at_least(0.9),
    ),
    Goal(
        "an update over TLS of a stream with a token: processor time to that of the same reference",
        "at most 1.11",
        _ratio("secured-updates", SECURED, "cpu_us_per_message", BARE_SECURED),
        at_most(1.11),
    ),
    *_observed(),
    *_overload(),
    *_sequential(),
    *_workers("grpcio"),
    *_workers("native"),
    Goal(
        "the same for an update of a run that 8 workers follow: for each worker",
        f"at most {TELLING:.2f}",
        _of_bare_call("follow-workers", "8 workers", "parent_us_per_update"),
        at_most(TELLING),
    ),
    Goal(
        "fan-out, 10,000 subscribers of one run: updates/s to those of the bare reference with the same tuning",
        "0.95",
        _ratio("fan-out-10000", GATEWAY, "messages_per_s"),
        at_least(0.95),
    ),
    Goal(
        "the same on the native transport: to those of the bare native transport",
        "0.90",
        _ratio("fan-out-10000", NATIVE, "messages_per_s", BARE_NATIVE),
        at_least(0.90),
    ),
    Goal(
        "1,000 runs with 10 subscribers each: updates/s to those of the bare reference",
        "0.92",
        _ratio("many-runs", GATEWAY, "messages_per_s"),
        at_least(0.92),
    ),
    Goal(
        "WatchRuns, 10,000 runs on one stream: processor time to that of the bare reference",
        "at most 1.15",
        _ratio("watch-runs", GATEWAY, "cpu_us_per_message"),
        at_most(1.15),
    ),
    Goal(
        "the same on the native transport",
        "at most 1.15",
        _ratio("watch-runs", NATIVE, "cpu_us_per_message"),
        at_most(1.15),
    ),
    Goal(
        "100,000 results from memory: items/s",
        "1,000,000",
        _value("results", ON_GRPCIO, "items_per_s"),
        at_least(1_000_000),
    ),
    Goal("the same from the journal", "400,000", _value("results", JOURNALLED, "items_per_s"), at_least(400_000)),
    Goal(
        "start of `runs-gateway get`: seconds",
        "at most 0.15",
        _value("command-line", GET, "seconds"),
        at_most(0.15),
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
