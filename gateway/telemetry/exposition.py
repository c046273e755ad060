"""Metrics in the formats of Prometheus and OpenMetrics, as `prometheus_client` writes them."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway.telemetry.metrics import MetricFamily

Encoder: TypeAlias = Callable[[Collector], bytes]

_LONGEST_HEADER: Final = 1_000


def encoder_for(accept: str) -> tuple[Encoder, str]:
    """What writes metrics for a client that accepts these media types, and the media type of what it writes."""
    try:
        encoder, media_type = choose_encoder(accept[:_LONGEST_HEADER])
    except (TypeError, ValueError):
        return choose_encoder("")  # The version that the client asks for is none.
    # The version that the client asks for is part of it.
    return (encoder, media_type) if media_type.isascii() and media_type.isprintable() else choose_encoder("")


def exposition(families: Iterable[MetricFamily], encoder: Encoder) -> bytes:
    """Metrics as text. It takes some 5 us for each line: for a thread."""
    return encoder(_Families(families))


class _Families(Collector):
    """Families, as `prometheus_client` reads what it has not counted itself."""

    def __init__(self, families: Iterable[MetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return map(_metric, self._families)


def _metric(family: MetricFamily) -> Metric:
    if family.kind == "histogram":
        return _histogram(family)
    made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = made(family.name, family.help, labels=family.labels)
    for labels, values in family.samples:
        metric.add_metric(labels, values[0])
    return metric


def _histogram(family: MetricFamily) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    names = [*map(str, map(float, family.bounds)), "+Inf"]
    for labels, values in family.samples:
        # A bucket of Prometheus holds what is in lower ones as well.
        metric.add_metric(labels, [*zip(names, accumulate(values[:-1]), strict=True)], values[-1])
    return metric
