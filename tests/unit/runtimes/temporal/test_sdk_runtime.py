"""What the SDK says goes to the log of the gateway, in short lines that are alike."""

import logging
from types import SimpleNamespace

import pytest

from gateway.runtimes.temporal.sdk_runtime import sdk_line, sdk_runtime


def told(message: str, level: int = logging.WARNING, **fields: object) -> tuple[bool, logging.LogRecord]:
    record = logging.LogRecord("sdk", level, "", 0, message, (), None)
    record.temporal_log = SimpleNamespace(fields=fields)
    return sdk_line(record), record


def line(message: str, level: int = logging.WARNING, **fields: object) -> logging.LogRecord:
    is_told, record = told(message, level, **fields)
    assert is_told
    return record


def test_lines_that_begin_alike_have_one_template_and_the_error_that_they_tell_of() -> None:
    status = 'Status { code: Unavailable, message: "tcp connect error", source: Some(tonic::transport::Error(...)) }'
    record = line("gRPC call query_workflow retried 5 times", error=status, size=1)
    assert record.msg == line("gRPC call query_workflow retried 6 times").msg
    assert record.msg != line("gRPC call signal retried 5 times").msg
    text = "the SDK of Temporal: gRPC call query_workflow retried 5 times: Unavailable: tcp connect error"
    assert record.getMessage() == text


@pytest.mark.parametrize("text", ["", "one", "two words", "100% of %s and more", "three words here"])
def test_lines_of_few_words(text: str) -> None:
    assert line(text).getMessage().split() == f"the SDK of Temporal: {text}".split()


def test_an_error_of_another_kind_is_told_as_it_is() -> None:
    assert line("Failed", error="it broke").getMessage() == "the SDK of Temporal: Failed: it broke"


def test_an_answer_that_nobody_waits_for_is_not_told() -> None:
    assert not told("Query not found when attempting to respond to it", error="Status { code: NotFound }")[0]


def test_a_call_that_goes_on_is_no_error() -> None:
    assert line("gRPC call query_workflow retried 16 times", logging.ERROR).levelno == logging.WARNING
    assert line("the workers have failed", logging.ERROR).levelno == logging.ERROR


def test_lines_are_short() -> None:
    assert len(line("many\nwords " * 1_000).getMessage()) < 400
    assert "\n" not in line("many\nwords").getMessage()


def test_a_process_has_one_runtime() -> None:
    assert sdk_runtime() is sdk_runtime()
