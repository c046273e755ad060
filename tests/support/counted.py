"""What has been counted while something happened."""

from collections.abc import Mapping

from gateway.telemetry.metrics import LabelValues, families

Counts = dict[tuple[str, LabelValues], list[float]]


def counts() -> Counts:
    """What this process has counted so far, by metric and labels."""
    return {(family.name, labels): values for family in families() for labels, values in family.samples}


class Counted:
    """What has been counted since this was made."""

    def __init__(self) -> None:
        self._before = counts()

    def of(self, name: str) -> Mapping[LabelValues, float]:
        """By labels, how much a counter has grown, or how often a histogram was observed; what has not is left out."""
        grown = {}
        for (metric, labels), values in counts().items():
            if metric == name:
                before = self._before.get((metric, labels), [0] * len(values))
                buckets = values[:-1] if len(values) > 1 else values
                if growth := sum(buckets) - sum(before[: len(buckets)]):
                    grown[labels] = growth
        return grown

    def total(self, name: str) -> float:
        """How much a counter has grown, whatever its labels."""
        return sum(self.of(name).values())
