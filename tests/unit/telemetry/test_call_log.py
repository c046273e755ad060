import logging
from typing import Any

import pytest

from gateway.telemetry import tracing
from gateway.telemetry.call_log import CallLog

FIELDS = {"method": "runs/get", "code": "OK", "seconds": 0.0015, "bytes_in": 7, "bytes_out": 9}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> CallLog:
    caplog.set_level(logging.INFO, "gateway.calls")
    return CallLog(most=2)


async def test_so_many_lines_a_second_and_then_their_number(log: CallLog, caplog: pytest.LogCaptureFixture) -> None:
    assert [log.takes(5.0, "OK") for _ in range(5)] == [True, True, False, False, False]
    assert log.takes(6.0, "OK")
    assert [record.message for record in caplog.records] == ["3 more calls have ended"]


async def test_their_number_is_in_no_trace(log: CallLog, caplog: pytest.LogCaptureFixture) -> None:
    told: list[object] = []

    def note(_: logging.LogRecord) -> bool:
        told.append(tracing.ids())
        return True

    caplog.handler.addFilter(note)
    with tracing.in_trace({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}):
        assert tracing.ids()
        for _ in range(3):
            log.takes(5.0, "OK")
        log.tell()
    assert told == [None]


async def test_a_call_that_failed_by_a_fault_of_the_gateway_has_a_line_in_any_case(log: CallLog) -> None:
    assert [log.takes(5.0, status) for status in ("OK", "OK", "INTERNAL", "UNKNOWN", "NOT_FOUND")] == [True] * 4 + [
        False
    ]


def test_the_line_tells_what_the_call_was(log: CallLog, caplog: pytest.LogCaptureFixture) -> None:
    log.write({**FIELDS, "identity": "alice@example.com", "peer": "127.0.0.1:80", "run_id": "r"})
    (record,) = caplog.records
    assert record.message == "runs/get: OK, 1.5 ms, by alice@example.com, from 127.0.0.1:80, 7 bytes in, 9 out"
    assert vars(record)["run_id"] == "r"


@pytest.mark.parametrize("identity", ["a, from 6.6.6.6", 'a"b', "a\n b", "a=b run_id=x", "é"])
def test_a_name_is_not_taken_for_more_than_a_name(
    identity: str, log: CallLog, caplog: pytest.LogCaptureFixture
) -> None:
    fields: dict[str, Any] = {**FIELDS, "identity": identity}
    log.write(fields)
    (record,) = caplog.records
    assert record.message.startswith('runs/get: OK, 1.5 ms, by "')
    assert "\n" not in record.message
