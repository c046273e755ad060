import pytest

from gateway.core.errors import InvalidParams
from gateway.core.model import ItemStatistics, SubmitParams
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
