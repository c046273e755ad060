import pytest

from gateway.telemetry import metrics
from gateway.telemetry.metrics import MAX_CHILDREN, OTHER, Counter, Gauge, Histogram, MetricFamily, added


@pytest.fixture(autouse=True)
def _own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_metrics", {})


def test_a_counter_without_labels_is_there_before_anything_happens() -> None:
    counter = Counter("a_total", "Help.")
    assert counter.family().samples == [((), [0])]
    counter.inc()
    counter.inc(by=2)
    assert counter.family() == MetricFamily("a_total", "counter", "Help.", (), [((), [3])])


def test_cells_are_kept_by_their_labels() -> None:
    counter = Counter("a_total", "Help.", ("method",))
    cell = counter.labels("x")
    cell.value += 1
    assert counter.labels("x") is cell
    counter.inc("y")
    assert counter.family().samples == [(("x",), [1]), (("y",), [1])]


def test_labels_are_bounded() -> None:
    counter = Counter("a_total", "Help.", ("client", "kind"))
    for number in range(MAX_CHILDREN + 100):
        counter.inc(str(number), "x")
    samples = dict(counter.family().samples)
    assert len(samples) == MAX_CHILDREN + 1
    assert samples[OTHER, OTHER] == [100]
    assert sum(value for (value,) in samples.values()) == MAX_CHILDREN + 100


def test_the_labels_of_distributions_are_bounded() -> None:
    histogram = Histogram("a_seconds", "Help.", (1,), ("client",))
    for number in range(MAX_CHILDREN + 100):
        histogram.observe(0.5, str(number))
    assert dict(histogram.family().samples)[OTHER,] == [100, 0, 50]


def test_a_gauge_adds_up_what_functions_return_while_they_are_asked() -> None:
    gauge = Gauge("a", "Help.", ("use",))
    gauge.labels("x").value += 1
    with gauge.read_from(lambda: 5, "x"), gauge.read_from(lambda: 7, "x"), gauge.read_from(lambda: 2, "y"):
        assert dict(gauge.family().samples) == {("x",): [13], ("y",): [2]}
    assert dict(gauge.family().samples) == {("x",): [1]}


def test_a_value_counts_in_the_first_bucket_that_is_not_below_it() -> None:
    histogram = Histogram("a_seconds", "Help.", (0.1, 1))
    for value in (0.05, 0.1, 0.5, 2.0):
        histogram.observe(value)
    assert histogram.family().bounds == (0.1, 1)
    assert histogram.family().samples == [((), [2, 1, 1, 2.65])]


def test_all_metrics_are_read_in_the_order_of_their_definitions() -> None:
    Counter("b_total", "Help.")
    Gauge("a", "Help.")
    assert [family.name for family in metrics.families()] == ["b_total", "a"]


def test_no_name_stands_twice() -> None:
    Counter("a_total", "Help.")
    with pytest.raises(AssertionError):
        Gauge("a_total", "Help.")


def test_processes_are_added_up() -> None:
    one = [MetricFamily("a", "gauge", "H", ("x",), [(("p",), [1]), (("q",), [2])])]
    two = [
        MetricFamily("a", "gauge", "H", ("x",), [(("q",), [3]), (("r",), [4])]),
        MetricFamily("b", "gauge", "H", (), [((), [5])]),
    ]
    total = added([one, two])
    assert [family.name for family in total] == ["a", "b"]
    assert total[0].samples == [(("p",), [1]), (("q",), [5]), (("r",), [4])]
    assert one[0].samples == [(("p",), [1]), (("q",), [2])]
