import pytest

from gateway.flows.run_fields import fields_of
from gateway.flows.run_record import RunRecord


@pytest.mark.parametrize(
    ("observability", "fields"),
    [
        (None, {"run_id": "r"}),
        ("{}", {"run_id": "r"}),
        ('{"traceId":"t","spanId":"s","other":[1]}', {"run_id": "r", "trace_id": "t"}),
    ],
)
def test_a_run_is_told_with_its_trace(observability: str | None, fields: dict[str, str]) -> None:
    record = RunRecord("r", "flow", None, None, 1, None, None, "{}", observability, "", None, "", 7)
    assert fields_of(record) == fields
