from gateway.core.errors import MAX_VIOLATIONS, MORE_VIOLATIONS, InvalidFlow, InvalidParams, Violation, shortened


def test_an_error_names_a_bounded_number_of_violations() -> None:
    error = InvalidParams([Violation(("inputs", index), "wrong") for index in range(100_100)])
    assert len(error.violations) == MAX_VIOLATIONS
    assert error.message.endswith("inputs[99]: wrong; and 100,000 more")
    assert error.under("a").message.endswith("a.inputs[99]: wrong; and 100,000 more")


def test_an_error_says_that_violations_were_not_looked_for() -> None:
    error = InvalidFlow([Violation(("a",), "wrong")] * 101, rest=MORE_VIOLATIONS)
    assert error.message.endswith("a: wrong; more were not looked for")


def test_paths_and_descriptions_are_of_bounded_length() -> None:
    path: tuple[str | int, ...] = ("steps", 1, "n" * 1_000_000, *["deep"] * 1_000, "end")
    error = InvalidParams([Violation(path, "d" * 1_000_000)])
    assert len(error.message) < 1_000
    assert error.violations[0].path[:2] == ("steps", 1)
    assert error.violations[0].path[-1] == "..."


def test_short_names_stay() -> None:
    assert shortened("x" * 100) == "x" * 100
    assert shortened("x" * 101) == "x" * 97 + "..."
