"""What a process counts: counters, gauges and distributions, which cost next to nothing when something happens.

They are made once, at the top of a module. A process counts for itself, whatever number of gateways it holds. Each cell
is written by one thread: adding to a number in an attribute takes 30 ns, a tenth of what `prometheus_client` takes for
its locks. What is counted is read as a list of families, which processes add up and `prometheus_client` writes.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias

from msgspec import Struct

MAX_CHILDREN: Final = 1_000
"""How many combinations of labels a metric has. Further ones count as `OTHER`: no client can make more of them."""

OTHER: Final = "other"

LabelValues: TypeAlias = tuple[str, ...]
"""The values of labels, in the order of their names."""

MetricKind: TypeAlias = Literal["counter", "gauge", "histogram"]


class MetricFamily(Struct, gc=False):
    """What has been counted of one metric. A sample has one value; of a histogram, one for each bucket, and the sum.

    The last bucket is for what exceeds all `bounds`. Buckets do not hold what is in lower ones.
    """

    name: str
    kind: MetricKind
    help: str
    labels: LabelValues
    samples: list[tuple[LabelValues, list[float]]]
    bounds: tuple[float, ...] = ()


class Cell:
    """A number. Add to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Distribution:
    """How often values came that are in the same bucket, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class _Metric(ABC):
    """A metric with its children, by the values of labels; one that has no labels has one child, from the start."""

    kind: MetricKind

    def __init__(self, name: str, help: str, labels: LabelValues = ()) -> None:  # noqa: A002 - its name everywhere
        assert name not in _metrics, f"two metrics are called {name}"
        self.name = name
        self.help = help
        self.label_names = labels
        _metrics[name] = self

    def family(self) -> MetricFamily:
        """What has been counted so far."""
        return MetricFamily(self.name, self.kind, self.help, self.label_names, [*self._samples()])

    @abstractmethod
    def _samples(self) -> Iterable[tuple[LabelValues, list[float]]]: ...


_metrics: dict[str, _Metric] = {}


class Counter(_Metric):
    """A number that grows: its name ends with `_total`."""

    kind: MetricKind = "counter"

    def __init__(self, name: str, help: str, labels: LabelValues = ()) -> None:  # noqa: A002
        super().__init__(name, help, labels)
        self._cells: dict[LabelValues, Cell] = {}
        if not labels:
            self.labels()

    def labels(self, *values: str) -> Cell:
        """The cell with these labels: keep it, where something happens often. Its `value` only grows."""
        cell = self._cells.get(values)
        if cell is None:
            kept = values if len(self._cells) < MAX_CHILDREN else (OTHER,) * len(values)
            cell = self._cells[kept] = self._cells.get(kept) or Cell()
        return cell

    def inc(self, *values: str, by: float = 1) -> None:
        """Count `by` more."""
        self.labels(*values).value += by

    def _samples(self) -> Iterable[tuple[LabelValues, list[float]]]:
        return [(labels, [cell.value]) for labels, cell in self._cells.items()]


class Gauge(Counter):
    """A number that goes up and down: a cell for what is counted, or functions that are asked when it is read."""

    kind: MetricKind = "gauge"

    def __init__(self, name: str, help: str, labels: LabelValues = ()) -> None:  # noqa: A002
        super().__init__(name, help, labels)
        self._functions: list[tuple[LabelValues, Callable[[], float]]] = []

    @contextmanager
    def read_from(self, function: Callable[[], float], *values: str) -> Iterator[None]:
        """Add what a function returns, while the block lasts. It is called in the event loop, and is quick."""
        entry = (values, function)
        self._functions.append(entry)
        try:
            yield
        finally:
            self._functions.remove(entry)

    def _samples(self) -> Iterable[tuple[LabelValues, list[float]]]:
        values = {labels: cell.value for labels, cell in self._cells.items()}
        for labels, function in self._functions:
            values[labels] = values.get(labels, 0) + function()
        return [(labels, [value]) for labels, value in values.items()]


class Histogram(_Metric):
    """How values are distributed over buckets with these upper `bounds`."""

    kind: MetricKind = "histogram"

    def __init__(self, name: str, help: str, bounds: Iterable[float], labels: LabelValues = ()) -> None:  # noqa: A002
        super().__init__(name, help, labels)
        self.bounds = tuple(bounds)
        self._distributions: dict[LabelValues, Distribution] = {}
        if not labels:
            self.labels()

    def labels(self, *values: str) -> Distribution:
        """The distribution with these labels: keep it, where something happens often."""
        found = self._distributions.get(values)
        if found is None:
            kept = values if len(self._distributions) < MAX_CHILDREN else (OTHER,) * len(values)
            found = self._distributions[kept] = self._distributions.get(kept) or Distribution(self.bounds)
        return found

    def observe(self, value: float, *values: str) -> None:
        """Count a value."""
        self.labels(*values).observe(value)

    def family(self) -> MetricFamily:
        family = super().family()
        family.bounds = self.bounds
        return family

    def _samples(self) -> Iterable[tuple[LabelValues, list[float]]]:
        return [(labels, [*each.counts, each.sum]) for labels, each in self._distributions.items()]


def families() -> list[MetricFamily]:
    """What this process has counted of all metrics, in the order of their definitions. For its event loop."""
    return [*each_family()]


def each_family() -> Iterator[MetricFamily]:
    """The same, one after the other: the event loop may have its turns between them."""
    for metric in [*_metrics.values()]:
        yield metric.family()


def added(of_processes: Iterable[Iterable[MetricFamily]]) -> list[MetricFamily]:
    """What several processes have counted together."""
    total: dict[str, MetricFamily] = {}
    for each in of_processes:
        for family in each:
            known = total.get(family.name)
            if known is None:
                total[family.name] = family
                continue
            samples = {labels: [*values] for labels, values in known.samples}
            for labels, values in family.samples:
                before = samples.get(labels)
                samples[labels] = values if before is None else [a + b for a, b in zip(before, values, strict=True)]
            total[family.name] = MetricFamily(
                known.name, known.kind, known.help, known.labels, [*samples.items()], known.bounds
            )
    return [*total.values()]
