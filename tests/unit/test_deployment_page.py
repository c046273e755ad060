"""The sizes in docs/deployment.md are those that were measured."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

DOCS: Final = Path(__file__).parents[2] / "docs"
FIGURES: Final[dict[str, Any]] = json.loads((DOCS / "benchmarks/figures.json").read_text(encoding="utf-8"))
NEAR: Final = 0.2
"""A page that people read has round numbers."""


@pytest.mark.parametrize(
    ("told", "scenario", "subject", "figure"),
    [
        ("1,800 a second", "submit", "gateway, journalled", "calls_per_s"),
        ("5,000 on the transport `native`", "submit", "gateway, native, journalled", "calls_per_s"),
        ("18,000 a second", "fan-out-10000", "gateway", "messages_per_s"),
        ("42,000 on `native`", "fan-out-10000", "gateway, native transport", "messages_per_s"),
        ("200,000 items a second", "results", "gateway, journalled", "items_per_s"),
        ("25 KiB for each open stream", "idle-memory", "gateway", "kib_per_subscriber"),
        ("75 MiB, and", "stored-runs", "1,000,000 runs", "memory_mib"),
        ("80 µs for a submit", "workers", "2 workers, grpcio", "parent_us_per_call"),
    ],
)
def test_sizes_are_those_that_were_measured(told: str, scenario: str, subject: str, figure: str) -> None:
    page = " ".join((DOCS / "deployment.md").read_text(encoding="utf-8").split())
    assert told in page
    number = float(told.partition(" ")[0].replace(",", ""))
    assert number == pytest.approx(FIGURES[scenario][subject][figure], rel=NEAR)
