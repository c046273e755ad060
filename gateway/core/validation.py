"""Building canonical messages: the one place where pydantic's errors become ours."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.core.errors import InvalidParams, Violation
from gateway.core.model import Message
from gateway.core.rules import fault_text

M = TypeVar("M", bound=Message)


def validated(model: type[M], fields: Mapping[str, Any], *path: str | int) -> M:
    """Build a message that sits at `path`. Raises InvalidParams, naming each one, if fields break their rules."""
    try:
        return model(**fields)
    except ValidationError as error:
        raise InvalidParams(
            [
                # Not what was given: it may be long, and the client knows it.
                Violation((*path, *fault["loc"]), fault_text(fault))
                for fault in error.errors(include_url=False, include_input=False)
            ]
        ) from None
