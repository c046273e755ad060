"""Renders a chart: a program for the environment that has the library of helm.

`python helm_program.py CHART RELEASE` reads values from standard input, as JSON, and writes JSON: the texts by the
names of their templates. `python helm_program.py --lint CHART` writes what the linter says.
"""

import importlib
import json
import sys
from typing import Any


def main() -> None:
    helm: Any = importlib.import_module("helm_python")  # It is in another environment.
    if sys.argv[1] == "--lint":
        json.dump(helm.lint(sys.argv[2]), sys.stdout)
        return
    chart, release = sys.argv[1:]
    values = json.load(sys.stdin)
    with helm.Chart.load(chart) as loaded:
        loaded.validate_schema(loaded.merge_values(values))
        json.dump(loaded.render(values, name=release, namespace="default"), sys.stdout)


if __name__ == "__main__":
    main()
