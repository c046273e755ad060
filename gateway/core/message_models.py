"""The pydantic models of canonical messages, made from their structs: they tell every fault of a message."""

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec import NODEFAULT, Meta
from msgspec.structs import FieldInfo, fields
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from gateway.core.errors import Violation
from gateway.core.model import Message
from gateway.core.rules import fault_text


def violations(message: type[Message], given: Mapping[str, Any], path: tuple[str | int, ...]) -> list[Violation]:
    """The rules that the fields of a message at `path` break; there is one."""
    try:
        model_of(message)(**given)
    except ValidationError as error:
        return [
            # Not what was given: it may be long, and the client knows it.
            Violation((*path, *fault["loc"]), fault_text(fault))
            for fault in error.errors(include_url=False, include_input=False)
        ]
    raise AssertionError(f"a {message.__name__} is both valid and invalid")


@cache
def model_of(message: type[Message]) -> type[BaseModel]:
    """The pydantic model with the fields and the rules of a message."""
    members: dict[str, Any] = {each.name: (_ruled(each.type), _default(each)) for each in fields(message)}
    config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)
    return create_model(message.__name__, __config__=config, **members)


def _default(member: FieldInfo) -> Any:
    if member.default_factory is not NODEFAULT:
        return Field(default_factory=member.default_factory)
    return ... if member.default is NODEFAULT else member.default


def _ruled(annotation: Any) -> Any:
    """A type with its bounds as pydantic writes them."""
    if get_origin(annotation) is Annotated:
        plain, bounds = get_args(annotation)
        return Annotated[_ruled(plain), _rule(bounds)]
    if get_origin(annotation) in (dict, tuple):
        return get_origin(annotation)[tuple(each if each is ... else _ruled(each) for each in get_args(annotation))]
    if get_origin(annotation) is UnionType or get_origin(annotation) is Union:
        return Union[tuple(map(_ruled, get_args(annotation)))]  # noqa: UP007 - of types that are not known here
    return annotation


def _rule(bounds: Meta) -> Any:
    return Field(gt=bounds.gt, ge=bounds.ge, le=bounds.le, min_length=bounds.min_length, max_length=bounds.max_length)
