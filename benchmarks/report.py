"""Writes the report: the goals, a table for each scenario, and plots. The text around them, written by hand, stays."""

import json
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks import chart
from benchmarks.goals import GOALS, Medians
from benchmarks.scenario import Scenario
from benchmarks.scenarios import BARE, GATEWAY, Metrics
from benchmarks.suite import SCENARIOS

BEGIN = "<!-- measured: written by make bench -->"
END = "<!-- end of measured -->"


def write(docs: Path, measured: Medians, method: str) -> None:
    """Update the page, its figures and its plots. Scenarios that were not measured keep their figures."""
    figures = docs / "benchmarks" / "figures.json"
    figures.parent.mkdir(exist_ok=True)
    known = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else {}
    medians = {name: {**known, **measured}[name] for name in SCENARIOS if name in known or name in measured}
    figures.write_text(json.dumps(medians, indent=1) + "\n", encoding="utf-8")
    for name, picture in _plots(medians):
        (figures.parent / f"{name}.svg").write_text(picture, encoding="utf-8")
    page = docs / "benchmarks.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{_page(medians, method)}\n{END}{after}", encoding="utf-8")


def _page(medians: Medians, method: str) -> str:
    parts = [
        f"{method}, on {_machine()}.",
        "## Goals",
        _table(("", "goal", "measured", ""), [goal.row(medians) for goal in GOALS]),
    ]
    for name, variants in medians.items():
        if not name.startswith("growth-"):
            parts += _section(SCENARIOS[name], variants, medians)
    parts += ["## How cost grows", *_growth()]
    return "\n\n".join(parts) + "\n"


def _section(scenario: Scenario, variants: Mapping[str, Metrics], medians: Medians) -> Iterator[str]:
    yield f"## {scenario.title}"
    yield scenario.text
    rows = [
        (name, *(chart.short(metrics[key]) if key in metrics else "" for key in scenario.columns))
        for name, metrics in variants.items()
    ]
    yield _table(("", *scenario.columns.values()), rows)
    if (plot := _PLOT_AFTER.get(scenario.name)) and scenario.name in medians:
        yield f"![{plot}](benchmarks/{plot}.svg)"


_PLOT_AFTER = {"submit": "submit", "fan-out-10000": "fan-out", "overload": "overload", "polling": "polling"}


def _growth() -> Iterator[str]:
    yield "Processor time for each update or item, at full load, in one round."
    for name in ("growth-subscribers", "growth-runs", "growth-items"):
        yield f"![{name}](benchmarks/{name}.svg)"


def _plots(medians: Medians) -> Iterator[tuple[str, str]]:
    if "submit" in medians:
        yield "submit", chart.bars("SubmitRun with wait", {"": _metric(medians["submit"], "calls_per_s")}, "calls/s")
    fan_outs = {int(name.removeprefix("fan-out-")): name for name in medians if name.startswith("fan-out-")}
    if fan_outs:
        groups = {f"{number:,}": _metric(medians[name], "messages_per_s") for number, name in fan_outs.items()}
        yield "fan-out", chart.bars("Fan-out of one run, by number of subscribers", groups, "updates/s")
    if "overload" in medians:
        groups = {"": _metric(medians["overload"], "age_p99_ms")}
        yield "overload", chart.bars("Overload: age of a received update, p99", groups, "ms")
    if "polling" in medians:
        groups = {"": _metric(medians["polling"], "cpu_share")}
        yield "polling", chart.bars("1,000 clients that follow one run: server CPU", groups, "cores")
    cost = "CPU us per update"
    if curves := _curves(medians, "growth-subscribers-", fan_outs, (BARE, GATEWAY), "cpu_us_per_message"):
        yield "growth-subscribers", chart.lines("Cost by subscribers of one run", curves, "subscribers", cost)
    one_run = {1: "fan-out-1000"} if "fan-out-1000" in medians else {}
    if curves := _curves(medians, "growth-runs-", one_run, (BARE, GATEWAY), "cpu_us_per_message"):
        yield "growth-runs", chart.lines("Cost by runs, with 1,000 subscribers together", curves, "runs", cost)
    names = ("gateway, :memory:", "gateway, journalled")
    if curves := _curves(medians, "growth-items-", {}, names, "cpu_us_per_item"):
        title = "Cost by items of a run, submit and execution"
        yield "growth-items", chart.lines(title, curves, "items", "CPU us per item", log_y=True)


def _metric(variants: Mapping[str, Metrics], metric: str) -> dict[str, float]:
    return {name: metrics[metric] for name, metrics in variants.items()}


def _curves(
    medians: Medians, prefix: str, others: Mapping[int, str], variants: tuple[str, ...], metric: str
) -> dict[str, list[tuple[float, float]]]:
    """Return curves through the scenarios with this prefix, whose names end in their x, and through others."""
    numbered = {int(name.removeprefix(prefix)): name for name in medians if name.startswith(prefix)}
    if not numbered:
        return {}
    return {
        variant: [(x, medians[name][variant][metric]) for x, name in sorted({**numbered, **others}.items())]
        for variant in variants
    }


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    rule = "|".join([" --- ", *(" ---: " for _ in head[1:])])
    lines = [f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def _machine() -> str:
    processor = "an unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    packages = ", ".join(f"{name} {version(name)}" for name in ("grpcio", "protobuf", "uvloop"))
    return f"two cores of {processor}, Linux {platform.release()}, Python {platform.python_version()}, {packages}"
