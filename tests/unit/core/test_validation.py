import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict
from pydantic import ValidationError

from gateway.core.errors import InvalidParams
from gateway.core.message_models import model_of
from gateway.core.model import (
    MAX_TIMEOUT,
    MIN_HEARTBEAT,
    GetParams,
    ItemError,
    ItemResult,
    ItemStatistics,
    Message,
    ObservabilityContext,
    ResultOrder,
    RunState,
    RunStatus,
    SubmitParams,
)
from gateway.core.validation import validated


def test_every_violation_has_its_path() -> None:
    fields = {"inputs": ["1"], "variables": {"a": 2}, "max_concurrency": 0, "wait": "yes", "timeout": -1.0, "other": 1}
    with pytest.raises(InvalidParams) as caught:
        validated(SubmitParams, fields)
    assert {violation.path for violation in caught.value.violations} == {
        ("flow_id",),
        ("variables", "a"),
        ("max_concurrency",),
        ("wait",),
        ("timeout",),
        ("other",),
    }


def test_paths_start_where_the_message_is() -> None:
    with pytest.raises(InvalidParams, match=r"^results\[2\]\.items\.total: is needed$"):
        validated(ItemStatistics, {}, "results", 2, "items")


def test_a_valid_message() -> None:
    assert validated(ItemStatistics, {"total": 1}) == ItemStatistics(total=1)


ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=300)
    | st.binary(max_size=3)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=2), st.text(max_size=2) | st.integers(), max_size=2)
    | st.sampled_from([*RunState, *ResultOrder, ItemStatistics(total=1), 2**32, 2**63, MAX_TIMEOUT, MIN_HEARTBEAT, ""])
)
MESSAGES = [ObservabilityContext, SubmitParams, GetParams, ItemStatistics, ItemError, ItemResult, RunStatus]


@pytest.mark.parametrize("message", MESSAGES)
@given(data=st.data())
def test_a_struct_and_the_model_made_of_it_take_the_same(message: type[Message], data: st.DataObject) -> None:
    names = st.sampled_from([*message.__struct_fields__, "other"])
    fields = data.draw(st.dictionaries(names, ODD))
    try:
        taken: object = dict(model_of(message)(**fields))
    except ValidationError as fault:
        taken = [each["loc"] for each in fault.errors()]
    if isinstance(taken, dict):
        assert asdict(validated(message, fields)) == taken
    else:
        with pytest.raises(InvalidParams) as caught:
            validated(message, fields)
        assert [violation.path for violation in caught.value.violations] == taken


@pytest.mark.parametrize("labels", [{"": "x"}, {"x": "y" * 256}, {"x" * 256: "y"}])
def test_names_and_values_of_labels_have_rules(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidParams) as caught:
        validated(SubmitParams, {"flow_id": "f", "inputs": [], "labels": labels})
    assert caught.value.violations[0].path[0] == "labels"
