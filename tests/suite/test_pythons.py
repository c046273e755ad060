import re
import sys

from tests.support import pythons


def test_an_interpreter_is_one_that_runs() -> None:
    assert pythons.interpreter(f"{sys.version_info.major}.{sys.version_info.minor}") is not None
    assert pythons.interpreter("2.99") is None


def test_each_dependency_has_an_oldest_version() -> None:
    constraints = list(pythons.oldest())
    assert len(constraints) > 10
    assert all(re.fullmatch(r"[\w.-]+==\d+(\.\d+)*", constraint) for constraint in constraints)
