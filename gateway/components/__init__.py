"""Client of JSON-RPC component servers: reaches or starts them, executes components and serves their requests."""

from gateway.components.error import ComponentError
from gateway.components.exchange import Callback
from gateway.components.limits import Limits
from gateway.components.message import asks_for_runs
from gateway.components.registry import Components, ComponentServerView
from gateway.components.server import Execution

__all__ = ["Callback", "ComponentError", "ComponentServerView", "Components", "Execution", "Limits", "asks_for_runs"]
