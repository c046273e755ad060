"""Lines that are printed for people."""

import sys

import pytest

from gateway.cli.lines import print_error, print_line, print_notice, printable


def test_control_characters_are_replaced_and_white_space_is_one_space() -> None:
    assert printable("a\n\tb  c") == "a b c"
    assert printable("\x1b[31mred\x9b") == "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("character", "\u202e\u2066\u200e\u061c\ufff9\u206a\x7f")
def test_marks_that_turn_text_around_are_replaced(character: str) -> None:
    assert printable(f"a{character}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_words_that_steer_no_terminal_stay() -> None:
    text = "naïve \N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN} می\N{ZERO WIDTH NON-JOINER}خواهم"
    assert printable(text) == text


def test_on_a_terminal_nothing_in_a_line_steers_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (sys.stdout, sys.stderr):
        monkeypatch.setattr(file, "isatty", lambda: True)
    print_line("a\tb\x9b\n\u202ec")
    print_notice("\x1b]0;owned")
    replaced = "\N{REPLACEMENT CHARACTER}"
    assert capsys.readouterr() == (f"a\tb{replaced}\n{replaced}c\n", f"{replaced}]0;owned\n")


def test_lines_go_to_the_output_and_errors_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("a  b")
    print_error("no\nsuch run")
    assert capsys.readouterr() == ("a  b\n", "error: no such run\n")
