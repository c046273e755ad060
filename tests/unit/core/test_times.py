import pytest
from hypothesis import given

from gateway.core.errors import InvalidParams
from gateway.core.times import nanoseconds, rfc3339
from tests.support import messages

SECOND = 10**9
MOMENT = 1_736_937_000 * SECOND


@given(messages.times)
def test_exact(time: int) -> None:
    assert nanoseconds(rfc3339(time)) == time


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (MOMENT, "2025-01-15T10:30:00Z"),
        (MOMENT + 250_000_000, "2025-01-15T10:30:00.250Z"),
        (MOMENT + 250_001_000, "2025-01-15T10:30:00.250001Z"),
        (MOMENT + 1, "2025-01-15T10:30:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-62_135_596_800 * SECOND, "0001-01-01T00:00:00Z"),
        (253_402_300_799 * SECOND, "9999-12-31T23:59:59Z"),
    ],
)
def test_writes(time: int, text: str) -> None:
    assert rfc3339(time) == text


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2025-01-15T10:30:00+00:00", MOMENT),
        ("2025-01-15t10:30:00z", MOMENT),
        ("2025-01-15T12:30:00.5+02:00", MOMENT + 500_000_000),
        ("2025-01-15T05:00:00-05:30", MOMENT),
        ("2026-11-22T13:20:11.110771303+00:00", 1_795_353_611_110_771_303),
    ],
)
def test_reads(text: str, time: int) -> None:
    assert nanoseconds(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2025-01-15",
        "2025-01-15T10:30:00",
        "2025-01-15 10:30:00Z",
        "2025-02-30T10:30:00Z",
        "2025-01-15T24:00:01Z",
        "2025-01-15T10:30:60Z",
        "2025-01-15T10:30:00.Z",
        "2025-01-15T10:30:00.1234567890Z",
        "2025-01-15T10:30:00+24:00",
        "2025-01-15T10:30:00-24:00",
        "2025-01-15T10:30:00+01:60",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "٢٠٢٥-01-15T10:30:00Z",
        "2025-01-15T10:30:00Z\n",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidParams, match="created_at: expected an RFC 3339 time"):
        nanoseconds(text, "created_at")
