"""The dashboard and the rules for alerts name metrics and labels that there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.metrics_table import DOCUMENT, TARGET, registry, tables
from tests.support.tables import with_table

DEPLOY = Path(__file__).parents[2] / "deploy"

ADDED_BY_PROMETHEUS = {"instance", "job", "le"}
OF_PROMETHEUS = {"up": {"instance", "job"}}
FUNCTIONS = {
    *(
        "and",
        "by",
        "histogram_quantile",
        "increase",
        "label_values",
        "min",
        "or",
        "rate",
        "sum",
        "time",
        "unless",
        "without",
    ),
}
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^{}]*)\}")
MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
GROUPING = re.compile(r"\b(?:by|without)\s*\(([^()]*)\)")


def series() -> dict[str, set[str]]:
    """The labels of all series, by their names."""
    found = dict(OF_PROMETHEUS)
    for family in registry():
        endings = ("_bucket", "_count", "_sum") if family.kind == "histogram" else ("",)
        for ending in endings:
            found[f"{family.name}{ending}"] = {*family.labels, *ADDED_BY_PROMETHEUS}
    return found


def faults(expression: str) -> list[str]:
    """What an expression names that is not there."""
    known = series()
    found = []
    named: set[str] = set()
    for name, matchers in SELECTOR.findall(expression):
        labels = [match[0] for match in MATCHER.findall(matchers)]
        assert MATCHER.sub("", matchers).strip() == "", f"not understood: {matchers}"
        found += [f"{name}{{{label}}}" for label in labels if label not in known.get(name, {label})]
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    bare = re.sub(r"\{[^{}]*\}|\[[^\[\]]*\]", " ", bare)
    for group in GROUPING.findall(bare):
        named |= {label.strip() for label in group.split(",")}
    if bare.startswith("label_values("):
        bare = bare.partition(",")[0]
    names = set(re.findall(r"[a-zA-Z_:][\w:]*", GROUPING.sub(" ", bare))) - FUNCTIONS
    found += [name for name in names if name not in known]
    found += [f"by ({label})" for label in named if not all(label in known.get(name, {label}) for name in names)]
    assert names, f"no metric is named: {expression}"
    return found


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus-alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return found


ALERTS = {rule["alert"]: rule for rule in alerts()}
PANELS = {panel["title"]: panel for panel in dashboard()["panels"] if panel["type"] != "row"}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_names_what_there_is(name: str) -> None:
    rule = ALERTS[name]
    assert faults(rule["expr"]) == []
    used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = {label.strip() for group in GROUPING.findall(rule["expr"]) for label in group.split(",")}
    alike = kept or set.union(*(series()[found] for found in series() if found in rule["expr"]))
    assert used <= alike
    assert rule["labels"]["severity"] in ("warning", "critical")


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_for_one_event_counts_what_is_there_before_it(name: str) -> None:
    """Prometheus sees no increase in a series that begins with the event, as those with labels do."""
    for metric, matchers in re.findall(r"\bincrease\((\w+)(?:\{([^{}]*)\})?", ALERTS[name]["expr"]):
        [family] = [family for family in registry() if family.name == metric]
        wanted = tuple(value for _, operator, value in MATCHER.findall(matchers) if operator == "=")
        assert wanted in [labels for labels, _ in family.samples]


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_names_what_there_is(title: str) -> None:
    for target in PANELS[title]["targets"]:
        assert faults(target["expr"]) == []
        grouped = {label.strip() for group in GROUPING.findall(target["expr"]) for label in group.split(",")}
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped


def test_the_variables_of_the_dashboard_are_made_of_what_there_is() -> None:
    (query,) = [each["query"]["query"] for each in dashboard()["templating"]["list"] if each["type"] == "query"]
    assert faults(query) == []


def test_panels_have_their_own_ids_and_places() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize(
    "expression",
    [
        "sum(rate(runs_gateway_nothing_total[5m]))",
        'runs_gateway_followers{color="red"} > 1',
        "sum by (color) (runs_gateway_followers)",
        "rate(runs_gateway_update_age_seconds[5m])",
    ],
)
def test_what_is_not_there_is_found(expression: str) -> None:
    assert faults(expression) != []


def test_the_document_has_the_metrics_that_there_are() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document == with_table(document, TARGET, tables()), f"`make {TARGET}` writes it anew"
