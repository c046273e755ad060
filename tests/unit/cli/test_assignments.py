"""Flags that are given as a name, an equals sign and a value."""

import pytest

from gateway.cli.assignments import assignments
from gateway.cli.errors import CommandError, ExitCode


def test_values_may_be_empty_and_may_hold_equals_signs() -> None:
    assert assignments("--flag", "PREFIX=TARGET", ["a=1", "b=", "c=x=y"]) == {"a": "1", "b": "", "c": "x=y"}
    assert assignments("--flag", "PREFIX=TARGET", []) == {}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a"], "--flag: expected PREFIX=TARGET, got 'a'"),
        (["=1"], "--flag: expected PREFIX=TARGET, got '=1'"),
        (["a=1", "a=1"], "--flag: 'a' is given twice; leave one out"),
    ],
)
def test_malformed_texts_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(CommandError) as raised:
        assignments("--flag", "PREFIX=TARGET", texts)
    assert (str(raised.value), raised.value.exit_code) == (message, ExitCode.USAGE)
