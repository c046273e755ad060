"""The benchmark suite as far as it can be tested without measuring: its scenarios, its goals and its report."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import chart, report, run
from benchmarks.goals import GOALS
from benchmarks.suite import SCENARIOS

# Whatever is installed: a figure for each metric that a table shows, and for those that goals ask for.
FIGURES = {
    name: {variant: dict.fromkeys(scenario.columns, 2.0) | {"cpu_us_per_message": 3.0} for variant in scenario.variants}
    for name, scenario in SCENARIOS.items()
}


def test_lists_its_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--list"]) == 0

    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(SCENARIOS)


def test_lists_those_that_were_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--list", "--only", "fan-out"]) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "fan-out-100",
        "fan-out-1000",
        "fan-out-10000",
    ]


def test_keeps_what_people_wrote_around_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n\n{report.BEGIN}\nolder figures\n{report.END}\n\nafter\n", encoding="utf-8")

    report.write(tmp_path, FIGURES, "Medians of 3 rounds")

    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "older figures" not in text
    assert all(goal.what in text for goal in GOALS)
    assert all(scenario.title in text for name, scenario in SCENARIOS.items() if not name.startswith("growth-"))


def test_every_plot_of_the_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"{report.BEGIN}\n{report.END}\n", encoding="utf-8")

    report.write(tmp_path, FIGURES, "Medians of 3 rounds")

    plots = {
        line.partition("(")[2].rstrip(")") for line in page.read_text(encoding="utf-8").splitlines() if "![" in line
    }
    assert plots == {f"benchmarks/{path.name}" for path in (tmp_path / "benchmarks").glob("*.svg")}
    assert len(plots) == 7


def test_a_part_that_is_measured_again_leaves_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"{report.BEGIN}\n{report.END}\n", encoding="utf-8")
    report.write(tmp_path, FIGURES, "Medians of 3 rounds")

    report.write(tmp_path, {"storm": {"gateway": {"served": 9_999.0, "reset": 1.0}}}, "Medians of 3 rounds")

    text = page.read_text(encoding="utf-8")
    assert "| 0 | 1.00 | **below** |" in text
    assert SCENARIOS["submit"].title in text


@pytest.mark.parametrize("value", [0.0, 0.004, 3.0, 42.0, 53_400.0])
def test_charts_are_well_formed(value: float) -> None:
    bars = chart.bars("Title & more", {"10": {"a <b>": value}}, "ms")
    lines = chart.lines("Title", {"a": [(1, value + 1), (100, value + 2)]}, "x", "y")

    assert all(ET.fromstring(picture).tag.endswith("svg") for picture in (bars, lines))
