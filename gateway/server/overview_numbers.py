"""Numbers for people, from what the processes of a gateway have counted: rates, quantiles, and how things stand.

A number that nobody counts yet is None. Nothing here touches the event loop: it may be called in any thread.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.telemetry.metrics import LabelValues, MetricFamily, added

QUANTILE_SAMPLES: Final = 10
"""Over how many samples quantiles are taken: those of a second with few calls would jump."""

_FINE: Final = frozenset({"OK", "Canceled", "ok", "canceled", "cancelled"})
"""The codes of calls, and the outcomes of executions, that are no failures."""

_STREAMS: Final = frozenset({"runs/watch"})
"""The methods of JSON-RPC whose calls last as long as their clients like."""

Counts: TypeAlias = Callable[[dict[str, str]], bool]
"""Whether the sample with these labels counts."""


def _all(_: dict[str, str]) -> bool:
    return True


class Sample(NamedTuple):
    """What all processes together had counted at a time, in seconds of a monotonic clock."""

    time: float
    families: dict[str, MetricFamily]

    def total(self, name: str, chosen: Counts = _all) -> float | None:
        """The sum of the values of a metric; of a histogram, how often values came."""
        found = self._chosen(name, chosen)
        if found is None:
            return None
        is_histogram = self.families[name].kind == "histogram"
        return sum(sum(values[:-1]) if is_histogram else values[0] for _, values in found)

    def by_label(self, name: str, chosen: Counts = _all) -> dict[str, float] | None:
        """The values of a metric by its first label."""
        found = self._chosen(name, chosen)
        if found is None:
            return None
        values: dict[str, float] = {}
        for labels, (value, *_) in found:
            values[labels[0]] = values.get(labels[0], 0) + value
        return values

    def buckets(self, name: str, chosen: Counts = _all) -> list[float] | None:
        """How many values have come in each bucket of a histogram."""
        found = self._chosen(name, chosen)
        if found is None:
            return None
        return [sum(bucket) for bucket in zip(*(values[:-1] for _, values in found), strict=True)]

    def _chosen(self, name: str, chosen: Counts) -> list[tuple[LabelValues, list[float]]] | None:
        family = self.families.get(name)
        if family is None or (not family.samples and not family.labels):
            return None
        return [
            (labels, values)
            for labels, values in family.samples
            if chosen(dict(zip(family.labels, labels, strict=True)))
        ]


def sample(time: float, of_processes: Iterable[Iterable[MetricFamily]]) -> Sample:
    """What processes have counted, added up."""
    return Sample(time, {family.name: family for family in added(of_processes)})


class OverviewNumbers:
    """The numbers of a gateway, from one sample to the next."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=QUANTILE_SAMPLES + 1)

    def of(self, now: Sample) -> dict[str, Any]:
        """The numbers that a further sample tells, by the names of the overview."""
        before = self._samples[-1] if self._samples else None
        self._samples.append(now)
        rate = _Growth(before, now)
        uses = now.by_label("runs_gateway_memory_bytes")
        return {
            "calls_per_second": {
                "grpc": rate.of("grpc_server_handled_total"),
                "jsonrpc": rate.of("jsonrpc_server_handled_total", _of_clients),
            },
            "latency_seconds": self._quantiles(_LATENCIES, (50, 90, 99)),
            "errors_per_second": _sum(
                rate.of("grpc_server_handled_total", _failed),
                rate.of("jsonrpc_server_handled_total", lambda labels: _of_clients(labels) and _failed(labels)),
            ),
            "open_streams": now.by_label("runs_gateway_open_streams"),
            "followers": now.by_label("runs_gateway_followers"),
            "followed_runs": now.total("runs_gateway_followed_runs"),
            "followed_sets": now.total("runs_gateway_followed_sets"),
            "updates_per_second": rate.of("runs_gateway_update_age_seconds"),
            "memory": {
                "limit": now.total("runs_gateway_memory_limit_bytes") or None,
                "used": None if uses is None else sum(uses.values()),
                "uses": uses,
            },
            "items": {
                "executing": now.total("runs_gateway_items_executing"),
                "waiting": now.total("runs_gateway_items_waiting"),
            },
            "runs_per_second": {
                "submitted": rate.of("runs_gateway_runs_submitted_total"),
                "ended": rate.of("runs_gateway_runs_ended_total"),
            },
            "event_loop_turn_seconds": self._quantiles({"runs_gateway_event_loop_turn_seconds": _all}, (50, 99)),
            "state_file_bytes": now.total("runs_gateway_state_file_bytes") or None,
            "workers": now.total("runs_gateway_workers") or None,
        }

    def of_components(self, prefix: str) -> dict[str, float | None]:
        """How often components below a prefix have been executed, and how often in vain, by the latest sample."""
        now, name = self._samples[-1], "runs_gateway_component_executions_total"
        return {
            "executions": now.total(name, lambda labels: labels["prefix"] == prefix),
            "errors": now.total(name, lambda labels: labels["prefix"] == prefix and labels["outcome"] not in _FINE),
        }

    def _quantiles(self, names: dict[str, Counts], percents: Sequence[int]) -> dict[str, float | None]:
        """Quantiles of the values that have come in the last seconds, in all of these histograms together."""
        first, last = self._samples[0], self._samples[-1]
        counts: list[float] = []
        bounds: tuple[float, ...] = ()
        for name, chosen in names.items():
            now = last.buckets(name, chosen) if first is not last else None
            if not now or (bounds and bounds != last.families[name].bounds):
                continue
            bounds = last.families[name].bounds
            before = first.buckets(name, chosen) or [0] * len(now)
            new = [max(0, b - a) for a, b in zip(before, now, strict=True)]
            counts = [a + b for a, b in zip(counts, new, strict=True)] if counts else new
        return {f"p{percent}": quantile(percent / 100, bounds, counts) for percent in percents}


def quantile(part: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """About how large a value is that this part of all does not exceed; None if there are none."""
    total = sum(counts)
    if not total:
        return None
    rank, lower, before = part * total, 0.0, 0.0
    for bound, count, upto in zip(bounds, counts, accumulate(counts), strict=False):
        if upto >= rank:
            return lower + (bound - lower) * (rank - before) / count if count else lower
        lower, before = bound, upto
    return bounds[-1]


class _Growth:
    """How fast counters have grown between two samples."""

    def __init__(self, before: Sample | None, now: Sample) -> None:
        self._before = before
        self._now = now

    def of(self, name: str, chosen: Counts = _all) -> float | None:
        now = self._now.total(name, chosen)
        if self._before is None or now is None:
            return None
        # What a worker had counted that has died without a word is lost.
        grown = max(0.0, now - (self._before.total(name, chosen) or 0.0))
        return grown / max(self._now.time - self._before.time, 1e-3)


def _failed(labels: dict[str, str]) -> bool:
    return labels.get("grpc_code", labels.get("jsonrpc_code")) not in _FINE


def _of_clients(labels: dict[str, str]) -> bool:
    return labels.get("origin") != "component"


_LATENCIES: Final[dict[str, Counts]] = {
    "grpc_server_handling_seconds": lambda labels: labels["grpc_type"] == "unary",
    "jsonrpc_server_handling_seconds": lambda labels: _of_clients(labels) and labels["jsonrpc_method"] not in _STREAMS,
}


def _sum(*numbers: float | None) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
