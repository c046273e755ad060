"""Checking canonical messages where they enter: the one place where errors about fields are made.

The structs of `gateway.core.model` say what holds for each field. A message that breaks a rule is read once more, by a
pydantic model with the same fields, which tells every fault and its place.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import ValidationError, convert

from gateway.core.errors import InvalidParams
from gateway.core.model import Message

M = TypeVar("M", bound=Message)


def validated(message: type[M], given: Mapping[str, Any], *path: str | int) -> M:
    """Build a message that sits at `path`. Raises InvalidParams, naming each one, if fields break their rules."""
    try:
        return convert(given, message)
    except ValidationError:
        # A client does not need it, and would take long to import it.
        from gateway.core.message_models import violations

        raise InvalidParams(violations(message, given, path)) from None
