"""Conformance is tested over the same whole gateway as integration."""

from tests.integration.conftest import client, gateway, start

__all__ = ["client", "gateway", "start"]
