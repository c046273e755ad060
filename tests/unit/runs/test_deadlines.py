"""When a call that waits has to answer."""

import time

import pytest

from gateway.runs.deadlines import time_to_answer, waiting_ends


@pytest.mark.parametrize(
    ("remaining", "waits"),
    [(0.0, -0.1), (0.05, -0.05), (0.7, 0.6), (1.0, 0.9), (2.0, 1.8), (5.0, 4.5), (10.0, 9.0), (3_600.0, 3_599.0)],
)
def test_an_answer_has_a_tenth_of_the_time_of_its_call_for_its_way(remaining: float, waits: float) -> None:
    before = time.monotonic()
    answer_by = time_to_answer(remaining)
    assert before + waits - 1e-6 <= answer_by <= time.monotonic() + waits + 1e-6


def test_waiting_ends_with_the_timeout_or_before_the_deadline() -> None:
    assert waiting_ends(None, None) is None
    assert waiting_ends(None, 5.0) == waiting_ends(1e9, 5.0) == 5.0
    before = time.monotonic()
    for ends in (waiting_ends(2.0, None), waiting_ends(2.0, before + 1e6)):
        assert ends is not None
        assert before + 2.0 <= ends <= time.monotonic() + 2.0
