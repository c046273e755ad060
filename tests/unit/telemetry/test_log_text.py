import pytest

from gateway.telemetry.log_text import harmless, indented, one_entry, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é\ttab", "plain é\ttab"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x00\x7f\x85\u2028\u202e", "\\x00\\x7f\\x85\\u2028\\u202e"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_lines_may_stay_lines() -> None:
    assert harmless("a\nb\x1b", lines=True) == "a\nb\\x1b"


def test_a_message_cannot_forge_another_entry() -> None:
    assert one_entry("a\n2026-11-27 ERROR forged\r") == "a\\n2026-11-27 ERROR forged\\r"
    assert one_entry("the last:\n    said\x1b\n    twice\n  no") == "the last:\n    said\\x1b\n    twice\\n  no"
    assert one_entry("plain") == "plain"


def test_each_line_is_indented() -> None:
    assert indented("a\nb\x07") == "    a\n    b\\x07"


def test_long_texts_are_shortened() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcdef", 3) == "abc ... (3 more characters)"
    assert shortened("abcdefghij", 3, end=True) == "a ... (7 characters) ... ij"
