"""A scenario: what is measured, how the table shows it, and the variants that are compared."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.scenarios import Measure


@dataclass(frozen=True)
class Scenario:
    """A scenario. `columns` are the metrics in its table, with their headings; `rounds` bounds the rounds, if not 0."""

    name: str
    title: str
    text: str
    columns: Mapping[str, str]
    variants: Mapping[str, Measure]
    rounds: int = 0
