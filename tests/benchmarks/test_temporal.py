"""What is measured on a Temporal server: that it works, not how fast."""

import pytest

from benchmarks import measure, temporal
from benchmarks.measure import BOTH_CORES
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow


def test_the_bare_sdk_executes_workflows(temporal_server: TemporalServer) -> None:
    with measure.server("benchmarks.temporal_reference", temporal_server.address, cores=BOTH_CORES) as bare:
        assert bare.command(concurrency=2, seconds=0.1)["seconds"]


def test_what_runs_take_is_measured_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "IN_FLIGHT", 4)
    monkeypatch.setattr(temporal, "SETTLE", 0.1)
    measured = temporal.throughput(2, 20, 0.1)
    assert measured["items_per_s"] == pytest.approx(20 * measured["runs_per_s"])
    assert measured["gateway_ms_per_item"] > 0
    assert measured["engine_ms_per_item"] > 0


def test_followers_have_all_results() -> None:
    assert temporal.ages(0.2)["age_p50_ms"] > 0
