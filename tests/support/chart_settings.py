"""What the schema of the chart's values says of settings, made from the settings themselves.

It admits what the gateway takes from a file, but for numbers and truth values that are written as texts. It cannot tell
what the machine of the gateway alone knows: whether a directory is there, or an extra is installed.
"""

import json
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from gateway.access.algorithms import ALGORITHMS
from gateway.server.setting_forms import FOREVER, RuntimeKind
from gateway.server.settings import ServeSettings
from gateway.server.settings_sources import KINDS_WITH
from tests.support import text_patterns

OF_THE_CHART: Final = ("grpc_address", "http_address", "metrics_address", "state", "tls_cert", "tls_key")
"""Settings that the chart makes: of addresses, volumes and `tls`."""

_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)"
_AT: Final = f"{_HOST}:{text_patterns.numbers(1, 65535)}"
_NAMESPACE: Final = "[A-Za-z0-9][A-Za-z0-9._-]{1,254}"
_RUNTIMES: Final = {
    RuntimeKind.EMBEDDED: "^embedded$",
    RuntimeKind.RELAY: f"^(?:unix:/.*|unix:~/.*|grpcs?://{_AT})$",
    RuntimeKind.JSONRPC: rf"^jsonrpc\+https?://{_AT}(?:/.*)?$",
    RuntimeKind.STEPFLOW: rf"^stepflow\+https?://{_AT}/?$",
    RuntimeKind.TEMPORAL: f"^temporals?://{_AT}/{_NAMESPACE}$",
}
_PORT: Final = f"(?::{text_patterns.numbers(1, 65535)})?"
_ORIGIN: Final = rf"\*|[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\]){_PORT}"
_KEYS: Final = rf"^(?:https://{_HOST}|http://(?:localhost|127\.0\.0\.1|\[::1\])){_PORT}(?:/[^#]*)?$"
_HOST_NAME: Final = r"[^\s:/@\[\]?#,*]+|\[[0-9A-Fa-f:.]+\]"

_PATTERNS: Final = {
    "_check_runtime": "|".join(_RUNTIMES.values()),
    "_check_url": rf"^https?://{_HOST}{_PORT}(?:/[^?#]*)?$",
    "_check_blobs": r"^(?:(?:s3|gs|az)://[A-Za-z0-9$][A-Za-z0-9._-]{0,254}(?:/[^?#]*)?|file:///[^?#]*)$",
    "_check_directories": "^(?:/|~/)[^:]*(?::(?:/|~/)[^:]*)*$",
}
"""Texts that a check takes, by the name of the check."""

_ENTRIES: Final = {
    "_check_hosts": _HOST_NAME,
    "_check_origins": _ORIGIN,
    "_check_roles": "front|worker",
    "_check_algorithms": "|".join(sorted(ALGORITHMS)),
}
"""Entries of lists that a check takes."""

_BOUNDS: Final = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_KEPT: Final = {
    *("$ref", "$defs", "type", "properties", "additionalProperties", "required", "items", "anyOf", "allOf", "enum"),
    *("const", "pattern", "minLength", "maxLength", "minItems", "maxItems", "propertyNames", "not", *_BOUNDS.values()),
}


class _SettingsSchema(GenerateJsonSchema):
    """Knows the checks of settings by their names."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> dict[str, Any]:
        """Add the texts that the check turns into what is there otherwise."""
        inner = super().function_before_schema(schema)
        match _name(schema):
            case "parse_size":
                inner["form"] = "size"
            case "_check_duration" | "_check_keep":
                own = {FOREVER} if _name(schema) == "_check_keep" else set()
                return {"anyOf": [inner, *_durations(), *({"const": text} for text in own)]}
            case "_lower":
                return {"type": "string", "pattern": text_patterns.any_case(*inner["enum"])}
        return inner

    def function_after_schema(self, schema: core_schema.AfterValidatorFunctionSchema) -> dict[str, Any]:
        """Say what the check takes."""
        inner = super().function_after_schema(schema)
        name = _name(schema)
        if name == "_check_keys":
            inner["anyOf"] = [{"not": {"pattern": "://"}}, {"pattern": _KEYS}]
        elif name in _PATTERNS:
            inner["pattern"] = _PATTERNS[name]
        elif name in _ENTRIES:
            least = int(name in {"_check_roles", "_check_algorithms"})
            entry = _ENTRIES[name]
            array = {"type": "array", "minItems": least, "items": {"type": "string", "pattern": f"^(?:{entry})$"}}
            text = {"type": "string", "pattern": text_patterns.listed(entry), "minLength": least}
            return {"anyOf": [array, text]}
        return inner


def _name(schema: Any) -> str:
    return str(getattr(schema["function"]["function"], "__name__", ""))


def _durations() -> list[dict[str, Any]]:
    return [{"type": "string", "allOf": [{"pattern": text_patterns.durations()}, {"pattern": "[1-9]"}]}]


def settings_schema() -> dict[str, Any]:
    """What `settings` may be in the values."""
    made = ServeSettings.model_json_schema(schema_generator=_SettingsSchema)
    properties = {name: _plain(each) for name, each in made["properties"].items() if name not in OF_THE_CHART}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["drain_delay", "drain_seconds"],
        "properties": properties,
        "allOf": [_for_runtime(kind, pattern) for kind, pattern in _RUNTIMES.items()],
    }


def definitions() -> dict[str, Any]:
    """What settings refer to."""
    made = ServeSettings.model_json_schema(schema_generator=_SettingsSchema)
    return {name: _plain(each) for name, each in made["$defs"].items()}


def _for_runtime(kind: RuntimeKind, pattern: str) -> dict[str, Any]:
    """Settings that a runtime of this kind does not have."""
    others = [name for name, kinds in KINDS_WITH.items() if kind not in kinds and name not in OF_THE_CHART]
    this = {"properties": {"runtime": {"pattern": pattern}}}
    needed = {} if kind is RuntimeKind.EMBEDDED else {"required": ["runtime"]}
    return {"if": this | needed, "then": {"propertyNames": {"not": {"enum": others}}}}


def _plain(schema: Any) -> Any:
    """A schema without what people read, and with bounds by the names that JSON Schema has for them."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    named = {_BOUNDS.get(key, key): value for key, value in schema.items()}
    plain = {key: _of(key, value) for key, value in named.items() if key in _KEPT}
    if named.get("form") != "size":
        return plain
    least, most = plain.get("minimum", 0), plain.get("maximum", plain.get("exclusiveMaximum", 1) - 1)
    return {"anyOf": [plain, {"type": "string", "pattern": text_patterns.sizes(least, most)}]}


def _of(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: _plain(each) for name, each in value.items()}
    if key == "$ref":
        return value.replace("#/$defs/", "#/definitions/")
    return value if key in {"enum", "const", "required"} else _plain(value)


def values_schema(file: Path) -> str:
    """The schema of all values, with what it says of settings made anew."""
    schema = json.loads(file.read_text(encoding="utf-8"))
    schema["definitions"] = {"texts": schema["definitions"]["texts"], **definitions()}
    schema["properties"]["settings"] = settings_schema()
    return json.dumps(schema, indent=2) + "\n"
