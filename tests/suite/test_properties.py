from pathlib import Path

import pytest

from tests.suite.inner import Inner
from tests.support.properties import EXPLORED

PROPERTY = """
import os

from hypothesis import given
from hypothesis import strategies as st


@given(st.integers())
def test_tried(number):
    with open(os.environ["PYTEST_TRIED"], "a") as file:
        print(number, file=file)
"""

BROKEN = """
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers())
def test_broken(number):
    assert number < 1000
"""


async def tried(folder: Path, *arguments: str) -> list[str]:
    """The examples that a run tried."""
    inner = Inner(folder)
    inner.write("test_tried.py", PROPERTY)
    file = folder / "tried"
    file.unlink(missing_ok=True)
    printed = await inner.run(*arguments, environment={"PYTEST_TRIED": str(file)})
    assert "1 passed" in printed, printed
    return file.read_text().splitlines()


async def test_each_run_tries_the_same(tmp_path: Path) -> None:
    first = await tried(tmp_path)
    assert await tried(tmp_path) == first
    assert len(first) == 100


async def test_a_run_that_explores_tries_more_and_others_each_time(tmp_path: Path) -> None:
    explore = "--hypothesis-profile=explore"
    first = await tried(tmp_path, explore)
    assert len(first) == EXPLORED
    assert await tried(tmp_path, explore) != first


@pytest.mark.parametrize("profile", ["fixed", "explore"])
@pytest.mark.parametrize("processes", ["0", "1"])
async def test_a_failure_says_how_to_see_it_again(tmp_path: Path, profile: str, processes: str) -> None:
    inner = Inner(tmp_path)
    inner.write("test_broken.py", BROKEN)
    printed = await inner.run("-n", processes, f"--hypothesis-profile={profile}")
    assert "@reproduce_failure(" in printed, printed
    assert "number=1000" in printed
