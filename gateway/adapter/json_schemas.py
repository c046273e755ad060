"""JSON Schemas, in draft 7, of objects as they are read: from their members, and from the fields that these fill."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final, cast

from msgspec import inspect

from gateway.adapter.json_members import Member, Members, any_value, members_of, optional_text
from gateway.adapter.member_descriptions import description_of
from gateway.adapter.status_from_json import time_from_json
from gateway.core.json_schema import JsonSchema
from gateway.core.json_text import object_text

SCHEMAS: Final = "#/components/schemas/"
"""Where the schemas of objects are, by the names of their classes."""

_BY_READER: Final[Mapping[Callable[..., Any], JsonSchema]] = {
    any_value: {},
    object_text: {"type": "object"},
    members_of: {"type": "object"},
    time_from_json: {"type": "string", "format": "date-time"},
}
"""What JSON has where the type of the field does not tell: texts of values, and times."""


def reference(name: str) -> JsonSchema:
    """The schema of the objects of a class."""
    return {"$ref": f"{SCHEMAS}{name}"}


def object_schema(
    name: str, members: Members, model: type[Any], others: Mapping[str, JsonSchema] = MappingProxyType({})
) -> JsonSchema:
    """The schema of an object. `others` are the schemas of members that fill no field by themselves."""
    properties = {
        key: described(others[key] if key in others else member_schema(member, [model]), description_of(name, key))
        for key, member in members.items()
    }
    required = [key for key, member in members.items() if key not in others and is_required(member, [model])]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def described(schema: JsonSchema, description: str) -> JsonSchema:
    """The schema with a description, which may not stand beside a reference."""
    return {"description": description, **({"allOf": [schema]} if "$ref" in schema else schema)}


def nullable(schema: JsonSchema) -> JsonSchema:
    """The schema of a value, or of null in its place."""
    if not schema:
        return schema
    if "enum" in schema:
        return {**schema, "type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, {"type": "null"}]}


def is_required(member: Member, models: Sequence[type[Any]]) -> bool:
    """Whether the member must be there, whichever of these models it is for."""
    return all(
        field is not None and field.required
        for field in (_fields(cast("Any", model)).get(member.field) for model in models)
    )


def member_schema(member: Member, models: Sequence[type[Any]]) -> JsonSchema:
    """The schema of the values of a member of one of these models."""
    if member.read in _BY_READER:
        return _BY_READER[member.read]
    field = next(field for model in models if (field := _fields(cast("Any", model)).get(member.field)) is not None)
    schema = _type_schema(field.type, member.spellings)
    if member.read is optional_text:
        schema.pop("minLength", None)
    return schema


@cache
def _fields(model: Any) -> dict[str, inspect.Field]:
    described = inspect.type_info(model)
    assert isinstance(described, inspect.StructType)
    return {field.name: field for field in described.fields}


def _type_schema(kind: inspect.Type, spellings: Sequence[str]) -> JsonSchema:
    match kind:
        case inspect.UnionType(types=types):
            (only,) = (inner for inner in types if not isinstance(inner, inspect.NoneType))
            return _type_schema(only, spellings)
        case inspect.StructType(cls=cls):
            return reference(cls.__name__)
        case inspect.EnumType(cls=names):
            return {"type": "string", "enum": list(spellings or [name.value for name in names])}
        case inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner):
            return {"type": "array", "items": _type_schema(inner, spellings), **_lengths(kind, "Items")}
        case inspect.DictType(key_type=key, value_type=value):
            inner_schemas = {"propertyNames": _type_schema(key, ()), "additionalProperties": _type_schema(value, ())}
            return {"type": "object", **inner_schemas, **_lengths(kind, "Properties")}
    return _scalar_schema(kind)


def _scalar_schema(kind: inspect.Type) -> JsonSchema:
    match kind:
        case inspect.IntType() | inspect.FloatType():
            return {"type": "integer" if isinstance(kind, inspect.IntType) else "number", **_bounds(kind)}
        case inspect.StrType():
            return {"type": "string", **_lengths(kind, "Length")}
    # Any is texts of values, which msgspec is not told of. Bytes are tokens.
    return {"type": {inspect.BoolType: "boolean", inspect.BytesType: "string", inspect.AnyType: "array"}[type(kind)]}


def _bounds(kind: inspect.IntType | inspect.FloatType) -> JsonSchema:
    bounds = {"minimum": kind.ge, "exclusiveMinimum": kind.gt, "maximum": kind.le, "exclusiveMaximum": kind.lt}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _lengths(kind: Any, unit: str) -> JsonSchema:
    lengths = {f"min{unit}": kind.min_length, f"max{unit}": kind.max_length}
    return {name: length for name, length in lengths.items() if length is not None}
