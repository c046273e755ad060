import json
import logging
import math
import re
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from gateway.server.log_format import (
    LONGEST_FIELD,
    LONGEST_MESSAGE,
    LONGEST_TRACEBACK,
    MOST_FIELDS,
    JsonFormatter,
    TextFormatter,
)
from gateway.telemetry import tracing


def record(message: str, *args: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("gateway.part", logging.WARNING, "file", 1, message, args, None)
    vars(made).update(fields)
    return made


def raised(message: str) -> logging.LogRecord:
    made = record("failed")
    try:
        raise ValueError(message)
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter("gateway").format(made)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def as_text(made: logging.LogRecord) -> str:
    return TextFormatter().format(made)


def test_a_line_for_people() -> None:
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    assert re.fullmatch(rf"{time} WARNING gateway\.part: 1 a", as_text(record("%d %s", 1, "a")))
    assert re.fullmatch(rf"{time} WARNING gateway\.part\[\d+\]: a", TextFormatter(with_pid=True).format(record("a")))


def test_the_members_of_json() -> None:
    made = record("%s is %d", "one", 1, run_id="r", trace_id="t", method="Get", seconds=0.25, errors=0, sampled=True)
    made.created = 1_800_000_000.125
    assert as_json(made) == {
        "time": "2027-01-15T08:00:00.125Z",
        "level": "warning",
        "logger": "gateway.part",
        "message": "one is 1",
        "process": "gateway",
        "pid": made.process,
        "run_id": "r",
        "trace_id": "t",
        "method": "Get",
        "seconds": 0.25,
        "errors": 0,
        "sampled": True,
    }


def test_the_text_has_ids_that_the_message_does_not_name() -> None:
    assert as_text(record("a", run_id="r1", trace_id="t1", method="Get")).endswith(": a run_id=r1 trace_id=t1")
    assert as_text(record("run %s", "r1", run_id="r1")).endswith(": run r1")


def test_a_line_within_a_span_has_its_trace() -> None:
    with tracing.traced_by(TracerProvider()), tracing.span("a"):
        ids = tracing.ids()
        assert ids is not None
        assert as_json(record("a"))["trace_id"] == ids[0]
        assert as_text(record("a")).endswith(f": a trace_id={ids[0]}")
        assert as_json(record("a", trace_id="t"))["trace_id"] == "t"
    assert "trace_id" not in as_json(record("a"))


def test_no_text_forges_an_entry_or_steers_a_terminal() -> None:
    made = record("%s", "x\n2026-11-27 00:00:00,000 ERROR gateway: forged\x1b[2J\u2028", run_id="r\n\x1b", who="\x1b\n")
    assert "\n" not in as_text(made)
    assert "\x1b" not in as_text(made)
    assert as_json(made)["message"] == "x\n2026-11-27 00:00:00,000 ERROR gateway: forged\\x1b[2J\\u2028"
    assert as_json(made)["who"] == "\\x1b\\n"


def test_an_exception_belongs_to_its_entry() -> None:
    text = as_text(raised("a\n2026-11-27 forged\x1b"))
    first, *more = text.split("\n")
    assert first.endswith(": failed")
    assert more[0] == "    Traceback (most recent call last):"
    assert more[-2:] == ["    ValueError: a", "    2026-11-27 forged\\x1b"]
    exception = as_json(raised("a"))["exception"]
    assert exception.startswith("Traceback (most recent call last):\n")
    assert exception.endswith("ValueError: a")


def test_everything_is_bounded() -> None:
    long = "x" * 1_000_000
    fields = as_json(record(long, who=long, **{f"f{number}": number for number in range(1_000)}))
    assert len(fields["message"]) < LONGEST_MESSAGE + 50
    assert len(fields["who"]) < LONGEST_FIELD + 50
    assert len(fields) <= MOST_FIELDS + 6
    assert len(as_text(record(long, run_id=long))) < LONGEST_MESSAGE + LONGEST_FIELD + 200
    assert len(as_json(raised(long))["exception"]) < LONGEST_TRACEBACK + 100


@pytest.mark.parametrize("value", [None, "", ["a"], {"a": 1}, b"a", object(), math.nan, math.inf])
def test_fields_are_short_and_plain(value: object) -> None:
    assert "odd" not in as_json(record("a", odd=value))


def test_fields_replace_no_member() -> None:
    members = as_json(record("a", time="x", level="x", logger="x", exception="x"))
    assert (members["level"], members["logger"], "exception" in members) == ("warning", "gateway.part", False)


def test_a_mistaken_call_still_tells_something() -> None:
    assert as_json(record("%d", "secret"))["message"] == "%d"
    assert as_text(record("%s %s", "secret")).endswith(": %s %s")
