"""The attacks as far as they can be tested without attacking: their list, and the page that they write."""

from pathlib import Path

import pytest

from benchmarks.abuse import report, run
from benchmarks.abuse.suite import ROWS

FIGURES = run.Figures(12.5, 7.5, 30.0, 345, 0.4, 1.2, "60 x -32005")


def test_lists_the_attacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--list"]) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(ROWS)


def test_lists_those_that_were_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--list", "--only", "unread", "--only", "retry"]) == 0

    chosen = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert chosen == ["retry", "unread-blobs", "unread-grpc", "unread-events"]


def test_keeps_what_people_wrote_around_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "limits.md"
    page.write_text(f"before\n\n{report.BEGIN}\nolder figures\n{report.END}\n\nafter\n", encoding="utf-8")

    report.write(page, {name: dict.fromkeys(run.SETTINGS, FIGURES) for name in ROWS})

    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "older figures" not in text
    assert text.count("| 12.5 ms | 7.5 ms | 345 MiB | 0.4 s | 1.2 s |") == len(ROWS) * len(run.SETTINGS)
    assert all(row.title in text for row in ROWS.values())


def test_keeps_the_rows_that_were_not_measured(tmp_path: Path) -> None:
    page = tmp_path / "limits.md"
    page.write_text(f"{report.BEGIN}\n{report.END}\n", encoding="utf-8")
    first, second, third = list(ROWS)[:3]
    report.write(page, {name: dict.fromkeys(run.SETTINGS, FIGURES) for name in (first, third)})

    report.write(page, {name: {"default": FIGURES._replace(p99_ms=99.9)} for name in (second, first)})

    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        ROWS[name].title for name in (first, first, second, third, third)
    ]
    assert ["99.9 ms" in row for row in rows] == [True, False, True, False, False]
