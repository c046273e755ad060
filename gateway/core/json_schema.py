"""JSON Schemas as Python values."""

from typing import Any, TypeAlias

JsonSchema: TypeAlias = dict[str, Any]
"""A schema; it is not changed once it has been made."""
