"""Durations as users write them."""

import pytest

from gateway.core.durations import duration_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("0.5", 0.5),
        ("250ms", 0.25),
        ("45s", 45),
        ("1.5h", 5_400),
        ("1h30m", 5_400),
        ("2d", 172_800),
        ("1w1d", 691_200),
    ],
)
def test_durations_have_units_or_are_seconds(text: str, seconds: float) -> None:
    assert duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "h", "1 h", "1h 30m", "-1", "1y", "1h30", "h1", "1e3", "\u0661", "9" * 13, "9999999999w"]
)
def test_other_texts_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a duration|is longer than"):
        duration_seconds(text)
