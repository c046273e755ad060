"""A pytest plugin: which processes coverage measures.

A process that loads coverage starts half a second later, and takes up to five times the processor. What a test marked
with `no_cover` starts is not measured, as the test itself is not.
"""

import os
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.session import coverage_settings


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Take the settings of coverage out of the environment meanwhile, which processes of tests inherit."""
    if not item.get_closest_marker("no_cover"):
        return (yield)
    settings = coverage_settings()
    for name in settings:
        del os.environ[name]
    try:
        return (yield)
    finally:
        os.environ.update(settings)
