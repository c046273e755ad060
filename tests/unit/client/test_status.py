"""What the clients return keeps everything that came."""

from datetime import UTC, datetime

from hypothesis import given

from gateway.adapter.status_to_json import run_status_to_canonical_json
from gateway.client.status import ItemError, ItemResult, RunUpdate, run_status
from gateway.core.model import ItemStatistics, RunState, RunStatus
from tests.support.messages import run_statuses


@given(run_statuses())
def test_nothing_of_a_status_is_lost(message: RunStatus) -> None:
    assert run_status(message).to_json() == run_status_to_canonical_json(message)


def test_times_are_those_of_utc_to_the_microsecond() -> None:
    message = RunStatus(
        run_id="r",
        flow_id="f",
        status=RunState.SUCCESS,
        items=ItemStatistics(total=0),
        created_at=1_700_000_000_123_456_789,
        completed_at=-1,
    )
    status = run_status(message)
    assert status.created_at == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert status.completed_at == datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert (status.finished, status.results) == (True, None)


def test_a_value_is_parsed_once_when_it_is_asked_for() -> None:
    result = ItemResult(0, RunState.SUCCESS, value_json='{"a": 18446744073709551617}')
    assert result.value == {"a": 2**64 + 1}
    assert result.value is result.value


def test_a_result_without_a_value_has_none() -> None:
    result = ItemResult(0, RunState.FAILED, error=ItemError(-32100, "no", data_json="[1]"))
    assert (result.value, result.completed_at) == (None, None)
    assert result.error is not None
    assert (result.error.data, ItemError(1, "x").data) == ([1], None)


def test_an_update_without_results_has_an_empty_list() -> None:
    message = RunStatus(
        run_id="r", flow_id="f", status=RunState.RUNNING, items=ItemStatistics(total=1, running=1), created_at=0
    )
    assert RunUpdate(run_status(message), 1, b"").results == []
