"""What is wrong with a value, in our words: those of pydantic are about its types."""

from collections.abc import Mapping
from typing import Any, Final

_WHOLE: Final = {
    "missing": "is needed",
    "extra_forbidden": "unknown",
    "string_unicode": "expected text, got bytes that are not UTF-8",
}
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_KINDS: Final = {
    "bool": "true or false",
    "bytes": "bytes",
    "decimal": "a number",
    "dict": "an object",
    "finite": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "list": "an array",
    "mapping": "an object",
    "model": "an object",
    "none": "null",
    "string": "a string",
    "tuple": "an array",
}
"""What is expected, by how the kinds of faults begin: `int_type`, `int_parsing` and so on."""


def fault_text(fault: Mapping[str, Any]) -> str:
    """Describe an entry of `ValidationError.errors()`, without its place."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in _WHOLE:
        return _WHOLE[kind]
    if kind.endswith(("too_short", "too_long")):
        return _length(kind, context)
    return f"{_expected(kind, context)}{_given(fault)}"


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    if kind in ("enum", "literal_error"):
        return f"expected {context['expected']}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"expected {words} {_number(context[name])}"
    words_of_kind = _KINDS.get(kind.partition("_")[0])
    return f"expected {words_of_kind}" if words_of_kind else "is not valid"


def _length(kind: str, context: Mapping[str, Any]) -> str:
    limit = context["min_length"] if kind.endswith("short") else context["max_length"]
    if kind.endswith("short") and limit == 1:
        return "must not be empty"
    unit = "characters" if kind.startswith("string") else "entries"
    return f"expected {'at least' if kind.endswith('short') else 'at most'} {limit:,} {unit}"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _given(fault: Mapping[str, Any]) -> str:
    """The value that was given, if it is short."""
    text = repr(fault["input"]) if "input" in fault else ""
    return f", got {text}" if 0 < len(text) <= 60 else ""
