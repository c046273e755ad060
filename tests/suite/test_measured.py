import json
from pathlib import Path

import pytest

from tests.suite.inner import Inner

TOLD = """
import json
import os
import subprocess
import sys

import pytest

SETTINGS = "import os; print(sorted(name for name in os.environ if name.startswith('COVERAGE_')))"
told = {}


@pytest.fixture(autouse=True)
def settings(request):
    told[request.node.name] = subprocess.check_output([sys.executable, "-c", SETTINGS], text=True).strip()


def test_any():
    pass


@pytest.mark.no_cover
def test_without():
    pass


def test_after():
    with open(os.environ["PYTEST_TOLD"], "w") as file:
        json.dump(told, file)
"""


@pytest.mark.parametrize("processes", ["0", "1"])
async def test_processes_of_tests_without_coverage_are_not_measured(tmp_path: Path, processes: str) -> None:
    inner = Inner(tmp_path)
    inner.write("test_told.py", TOLD)
    told = tmp_path / "told.json"
    # Settings that coverage itself knows nothing of: it would measure this run.
    environment = {"COVERAGE_TOLD": "x", "PYTEST_TOLD": str(told)}
    printed = await inner.run("-n", processes, environment=environment)
    assert "3 passed" in printed, printed
    measured, unmeasured = "['COVERAGE_TOLD']", "[]"
    assert json.loads(told.read_text()) == {
        "test_any": measured,
        "test_without": unmeasured,
        "test_after": measured,
    }
