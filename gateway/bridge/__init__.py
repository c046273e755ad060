"""A worker of a Stepflow engine: it pulls tasks and executes them on JSON-RPC component servers."""

from gateway.bridge.bridge import Bridge
from gateway.bridge.engine import EngineAway

__all__ = ["Bridge", "EngineAway"]
