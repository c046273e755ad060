"""A pytest plugin: how Hypothesis looks for what breaks a property.

Usually it tries the same examples each time, so that a run of the suite can be repeated. `--hypothesis-profile=explore`
tries others each time, and more of them, and remembers what failed. Either way a failure says how to see it again.
No property depends on speed.
"""

from typing import Any, Final

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

EXPLORED: Final = 1_000
"""Examples for each property in a run that explores."""

_ALWAYS: Final[dict[str, Any]] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow],
}

settings.register_profile("fixed", derandomize=True, database=None, max_examples=100, **_ALWAYS)
settings.register_profile("explore", derandomize=False, max_examples=EXPLORED, **_ALWAYS)
settings.load_profile("fixed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no coverage in properties: it doubles their time, and what they cover other tests cover as well."""
    for item in items:
        if is_hypothesis_test(getattr(item, "function", None)):
            item.add_marker("no_cover")
