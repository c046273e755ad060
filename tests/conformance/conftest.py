"""Conformance runs over the same whole gateway as the integration tests."""

from tests.integration.conftest import start

__all__ = ["start"]
