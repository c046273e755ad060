"""Items of runs, as the clients show them."""

import json
from datetime import UTC, datetime

from gateway.client.control_requests import items_of
from gateway.client.items import Item, item
from gateway.core import items
from gateway.core.model import ItemError, ItemResult, RunState
from runs.v1 import runs_pb2

TIME = 1_736_937_000_250_000_000
MOMENT = datetime(2025, 1, 15, 10, 30, 0, 250_000, tzinfo=UTC)


def failed() -> Item:
    return item(
        items.Item(
            3,
            RunState.FAILED,
            input='{"n":1.10}',
            result=ItemResult(item_index=3, status=RunState.FAILED, error=ItemError(code=7, message="m", data="[1]")),
            started_at=TIME,
            completed_at=TIME,
            attempts=2,
            steps=(
                items.StepStatus("a", "/c", items.StepState.SUCCESS, 1, TIME, TIME),
                items.StepStatus("b", "/c", items.StepState.FAILED, 3, error=ItemError(code=7, message="m")),
            ),
        )
    )


def test_values_are_python_values_and_times_are_moments() -> None:
    shown = failed()
    assert (shown.input, shown.started_at, shown.completed_at) == ({"n": 1.1}, MOMENT, MOMENT)
    assert shown.result is not None
    assert shown.result.error is not None
    assert shown.result.error.data == [1]
    first, second = shown.steps
    assert (first.started_at, first.completed_at, first.error) == (MOMENT, MOMENT, None)
    assert second.error is not None
    assert (second.started_at, second.attempts, second.error.message) == (None, 3, "m")


def test_an_item_that_waits_has_nothing_to_show() -> None:
    shown = item(items.Item(0, RunState.PENDING))
    assert (shown.input, shown.result, shown.started_at, list(shown.steps)) == (None, None, None, [])
    assert shown.to_json() == '{"itemIndex":0,"status":"pending"}'


def test_the_json_has_the_exact_text_of_payloads() -> None:
    text = failed().to_json()
    assert '"input":{"n":1.10}' in text
    shown = json.loads(text)
    assert [step["stepId"] for step in shown["steps"]] == ["a", "b"]
    assert (shown["attempts"], shown["startedAt"]) == (2, "2025-01-15T10:30:00.250Z")


def test_a_page_holds_items() -> None:
    message = runs_pb2.ListItemsResponse(items=[runs_pb2.Item(item_index=4, status=runs_pb2.RUN_STATE_RUNNING)])
    assert [each.item_index for each in items_of(message)] == [4]
