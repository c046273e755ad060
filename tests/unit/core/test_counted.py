"""Numbers of things."""

import pytest

from gateway.core.counted import counted


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 seconds"), (0.5, "0.5 seconds"), (1, "1 second"), (1.0, "1 second"), (1_234_567, "1234567 seconds")],
)
def test_one_is_not_several(number: float, text: str) -> None:
    assert counted(number, "second") == text
