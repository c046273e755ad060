"""Lines that are printed for people."""

import pytest

from gateway.cli.lines import print_error, print_line, printable


def test_control_characters_are_replaced_and_white_space_is_one_space() -> None:
    assert printable("a\n\tb  c") == "a b c"
    assert printable("\x1b[31mred\x9b") == "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}"


def test_lines_go_to_the_output_and_errors_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("a  b")
    print_error("no\nsuch run")
    assert capsys.readouterr() == ("a  b\n", "error: no such run\n")
