"""The chart of `deploy/helm`, rendered by helm; `python -m tests.support.helm_chart` writes `deploy/kubernetes` and the
schema of its values.

So what is there for those who do not use helm is what the chart renders with its own values, and with each of its
examples.
"""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support import deployment_tools
from tests.support.chart_settings import values_schema

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
CHART: Final = DEPLOY / "helm/runs-gateway"
SCHEMA: Final = CHART / "values.schema.json"
MANIFESTS: Final = {
    DEPLOY / "kubernetes/one-gateway.yaml": None,
    DEPLOY / "kubernetes/gateways-on-temporal.yaml": CHART / "examples/temporal.yaml",
}
"""The values of each file; None are those of the chart."""

_HEAD: Final = "# Made from deploy/helm/runs-gateway{with_values} by `make manifests`.\n"
_PROGRAM: Final = Path(__file__).with_name("helm_program.py")


class ChartError(Exception):
    """The chart cannot be rendered with these values; the message is that of helm."""


def rendered(values: dict[str, Any] | None = None, release: str = "runs-gateway") -> dict[str, str]:
    """The texts of all templates that have something. Raises ChartError if helm refuses."""
    texts: dict[str, str] = json.loads(_helm(str(CHART), release, values=json.dumps(values or {})))
    texts = {name.rpartition("/")[2]: text.strip() for name, text in texts.items()}
    return {name: text for name, text in sorted(texts.items()) if text and name != "NOTES.txt"}


def objects(values: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """What is rendered, by kind."""
    parsed = [yaml.safe_load(text) for text in rendered(values).values()]
    return {each["kind"]: each for each in parsed}


def complaints() -> list[dict[str, Any]]:
    """What the linter of helm says."""
    told: dict[str, list[dict[str, Any]]] = json.loads(_helm("--lint", str(CHART)))
    return told["messages"]


def manifest(values: Path | None) -> str:
    """The text of a file of manifests."""
    given = None if values is None else yaml.safe_load(values.read_text(encoding="utf-8"))
    suffix = "" if values is None else f" with {values.relative_to(CHART)}"
    return _HEAD.format(with_values=suffix) + "".join(f"---\n{text}\n" for text in rendered(given).values())


@cache
def _helm(*arguments: str, values: str = "") -> str:
    """What the program of helm prints for these values. It takes a second to load."""
    command = [deployment_tools.tool("python"), str(_PROGRAM), *arguments]
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=False, timeout=110)
    if done.returncode:
        raise ChartError(done.stderr)
    return done.stdout


if __name__ == "__main__":
    SCHEMA.write_text(values_schema(SCHEMA), encoding="utf-8")
    for file, given in MANIFESTS.items():
        file.write_text(manifest(given), encoding="utf-8")
