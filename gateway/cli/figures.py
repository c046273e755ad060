"""What the numbers of a gateway say: what is now, and how often things happened since the numbers were read before."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from math import inf
from typing import Any, Final

import msgspec

from gateway.cli.metrics_source import Scrape

_STREAMS: Final = ("server_stream", "bidi_stream")
_SERVER_ERRORS: Final = {"Unknown", "DeadlineExceeded", "Unimplemented", "Internal", "Unavailable", "DataLoss"}
"""What counts as an error of the gateway, as the conventions of traces say."""

_JSONRPC_ERRORS: Final = {"-32603", "-32015"}
"""The same of JSON-RPC: defects, and what cannot be reached."""

_EXECUTED: Final = {"ok", "cancelled"}
"""The outcomes of executions that are no errors of a component."""


@dataclass(frozen=True)
class ServerFigures:
    """A component server: whether it is there, and how often it executes and fails, in a second."""

    prefix: str
    up: bool | None
    executions_per_second: float | None
    errors_per_second: float | None


@dataclass(frozen=True)
class Figures:
    """The numbers of a gateway, by the names of `/ui/overview`. None is what is not known."""

    version: str | None = None
    uptime_seconds: float | None = None
    workers: float | None = None
    calls_per_second: dict[str, float | None] = field(default_factory=dict)
    errors_per_second: float | None = None
    latency_seconds: dict[str, float | None] = field(default_factory=dict)
    updates_per_second: float | None = None
    runs_per_second: dict[str, float | None] = field(default_factory=dict)
    open_streams: dict[str, float] = field(default_factory=dict)
    followers: dict[str, float] = field(default_factory=dict)
    followed_runs: float | None = None
    followed_sets: float | None = None
    memory: dict[str, float | None] = field(default_factory=dict)
    items: dict[str, float | None] = field(default_factory=dict)
    event_loop_turn_seconds: dict[str, float | None] = field(default_factory=dict)
    cpus: float | None = None
    """How many processors the gateway uses, all of its processes together."""
    resident_bytes: float | None = None
    components: list[ServerFigures] = field(default_factory=list)
    upstream_up: bool | None = None

    def to_json(self) -> str:
        """The JSON text of an object."""
        return msgspec.json.encode(asdict(self)).decode()


class Since:
    """How much has happened from one scrape to a later one. None without an earlier one, or if the gateway was started
    anew between them: then numbers are smaller.
    """

    def __init__(self, before: Scrape | None, now: Scrape) -> None:
        self._before, self._now = before, now
        self._seconds = now.moment - before.moment if before else 0.0

    def rate(self, name: str, **labels: str) -> float | None:
        """How often in a second; what was not there before counts from 0."""
        return self.rate_of((name, labels))

    def rate_of(self, *parts: tuple[str, Mapping[str, str]]) -> float | None:
        """The same of several numbers together."""
        if self._before is None or self._seconds <= 0:
            return None
        found = [self._now.total(name, **labels) for name, labels in parts]
        if all(total is None for total in found):
            return None
        earlier = sum(self._before.total(name, **labels) or 0.0 for name, labels in parts)
        growth = sum(total or 0.0 for total in found) - earlier
        return growth / self._seconds if growth >= 0 else None

    def rate_where(self, name: str, wanted: Callable[[Mapping[str, str]], bool]) -> float | None:
        """The same of the samples whose labels are wanted."""
        if self._before is None or self._seconds <= 0 or not self._now.each(name):
            return None
        now, earlier = (
            sum(value for labels, value in scrape.each(name) if wanted(labels)) for scrape in (self._now, self._before)
        )
        return (now - earlier) / self._seconds if now >= earlier else None

    def quantiles(self, parts: Iterable[tuple[str, Mapping[str, str]]], *wanted: float) -> dict[str, float | None]:
        """Under which value so many of the values are that came since, by `p50` and the like; None if none came."""
        growth: dict[float, float] = defaultdict(float)
        for name, labels in parts:
            for scrape, sign in ((self._now, 1), (self._before, -1)):
                for found, value in scrape.each(f"{name}_bucket", **labels) if scrape else ():
                    growth[float(found["le"])] += sign * value
        buckets = sorted(growth.items())
        known = self._before is not None and buckets and buckets[-1][1] > 0
        return {f"p{part * 100:g}": _quantile(part, buckets) if known else None for part in wanted}


def _quantile(part: float, buckets: list[tuple[float, float]]) -> float:
    """As Prometheus does it: even within a bucket; what is beyond all of them counts as the last bound."""
    rank = part * buckets[-1][1]
    low = below = 0.0
    for bound, number in buckets:
        if number >= rank and number > below:
            return low if bound == inf else low + (bound - low) * (rank - below) / (number - below)
        low, below = bound, number
    return low


def figures_of(before: Scrape | None, now: Scrape) -> Figures:
    """The figures of a gateway by its latest scrape, and by the one before."""
    since = Since(before, now)
    started = now.total("process_start_time_seconds", process="gateway") or now.total("process_start_time_seconds")
    up = now.total("runs_gateway_upstream_up")
    unary = ("grpc_server_handling_seconds", {"grpc_type": "unary"})
    return Figures(
        version=next((labels.get("version") for labels, _ in now.each("runs_gateway_build_info")), None),
        uptime_seconds=None if started is None else max(0.0, time.time() - started),
        workers=now.total("runs_gateway_workers"),
        calls_per_second={
            "grpc": since.rate("grpc_server_started_total"),
            "jsonrpc": since.rate("jsonrpc_server_started_total", origin="client"),
        },
        errors_per_second=_errors(since),
        latency_seconds=since.quantiles([unary, ("jsonrpc_server_handling_seconds", {"origin": "client"})], 0.5, 0.99),
        updates_per_second=since.rate_of(*(("grpc_server_msg_sent_total", {"grpc_type": kind}) for kind in _STREAMS)),
        runs_per_second={
            "submitted": since.rate("runs_gateway_runs_submitted_total"),
            "ended": since.rate("runs_gateway_runs_ended_total"),
        },
        open_streams=_by(now, "runs_gateway_open_streams", "method"),
        followers=_by(now, "runs_gateway_followers", "kind"),
        followed_runs=now.total("runs_gateway_followed_runs"),
        followed_sets=now.total("runs_gateway_followed_sets"),
        memory={
            "limit": now.total("runs_gateway_memory_limit_bytes"),
            "used": now.total("runs_gateway_memory_bytes"),
        },
        items={
            "executing": now.total("runs_gateway_items_executing"),
            "waiting": now.total("runs_gateway_items_waiting"),
        },
        event_loop_turn_seconds=since.quantiles([("runs_gateway_event_loop_turn_seconds", {})], 0.5, 0.99),
        cpus=since.rate("process_cpu_seconds_total"),
        resident_bytes=now.total("process_resident_memory_bytes"),
        components=_components(since, now),
        upstream_up=None if up is None else up > 0,
    )


def _errors(since: Since) -> float | None:
    rates = (
        since.rate_where("grpc_server_handled_total", lambda labels: labels.get("grpc_code") in _SERVER_ERRORS),
        since.rate_where(
            "jsonrpc_server_handled_total",
            lambda labels: labels.get("jsonrpc_code") in _JSONRPC_ERRORS and labels.get("origin") == "client",
        ),
    )
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


def _by(now: Scrape, name: str, label: str) -> dict[str, float]:
    """A gauge by one of its labels."""
    totals: dict[str, float] = defaultdict(float)
    for labels, value in now.each(name):
        totals[labels.get(label, "")] += value
    return dict(totals)


def _failed_below(prefix: str, labels: Mapping[str, str]) -> bool:
    return labels.get("prefix") == prefix and labels.get("outcome") not in _EXECUTED


def _components(since: Since, now: Scrape) -> list[ServerFigures]:
    up, done = "runs_gateway_component_server_up", "runs_gateway_component_executions_total"
    found: dict[str, Any] = {labels.get("prefix", ""): value for labels, value in now.each(up)}
    for labels, _ in now.each(done):
        found.setdefault(labels.get("prefix", ""), None)
    return [
        ServerFigures(
            prefix,
            None if value is None else value > 0,
            since.rate(done, prefix=prefix),
            since.rate_where(done, partial(_failed_below, prefix)),
        )
        for prefix, value in sorted(found.items())
    ]
