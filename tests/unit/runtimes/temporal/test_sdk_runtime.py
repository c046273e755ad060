"""What the SDK says goes to the log of the gateway, in short lines that are alike."""

import logging
from types import SimpleNamespace

from gateway.runtimes.temporal.sdk_runtime import sdk_line, sdk_runtime


def line(message: str, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("sdk", logging.WARNING, "", 0, message, (), None)
    record.temporal_log = SimpleNamespace(fields=fields)
    assert sdk_line(record)
    return record


def test_lines_have_one_template_and_the_error_that_they_tell_of() -> None:
    record = line("retried 5 times", error="Status { code: Unavailable }", size=1)
    assert record.msg == line("something else").msg
    assert record.getMessage() == "the SDK of Temporal: retried 5 times: Status { code: Unavailable }"


def test_lines_are_short() -> None:
    assert len(line("many\nwords " * 1_000).getMessage()) < 400
    assert "\n" not in line("many\nwords").getMessage()


def test_a_process_has_one_runtime() -> None:
    assert sdk_runtime() is sdk_runtime()
