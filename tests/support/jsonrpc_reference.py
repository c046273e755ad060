"""docs/json-rpc.md: the methods of JSON-RPC as a page, made from the OpenRPC document that `rpc.discover` answers with.

`python -m tests.support.jsonrpc_reference` writes it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.fronts.http.openrpc import openrpc_document
from tests.support.tables import markdown_table

DOCUMENT: Final = Path(__file__).parents[2] / "docs/json-rpc.md"
TARGET: Final = "jsonrpc-reference"

_HEAD: Final = f"""# JSON-RPC

<!-- This page is made by `make {TARGET}` from the models. -->

The methods of JSON-RPC 2.0, by `POST` to the HTTP address, one by one or as a batch. Parameters are given by name. The
same as an OpenRPC document, for programs, is the answer to `rpc.discover`.
[Guarantees](guarantees.md#json-rpc-over-http) have the rules of the transport and of
[event streams](guarantees.md#event-streams), [dialects](dialects.md) the spellings of other releases,
[errors](errors.md) each reason, and the [contract](contract.md) what a member means beyond a line.

An explicit `null` counts as an absent member. A member in **bold** has to be there.
"""


def reference() -> str:
    """The whole page."""
    document = json.loads(openrpc_document())
    parts = [_HEAD]
    for method in document["methods"]:
        parts += _method(method)
    parts.append("## Objects\n")
    for name, schema in document["components"]["schemas"].items():
        parts += _schema(name, schema)
    return "\n".join(parts)


def _method(method: dict[str, Any]) -> Iterator[str]:
    yield f"## {method['name']}\n\n{method['description']}\n"
    permission = method.get("x-permission")
    needs = f"Needs `{permission}` where there are [identities](security.md#identities). " if permission else ""
    unknown = method["x-unknown-params"]
    yield f"{needs}Answers with {_type(method['result']['schema'])}. Unknown members are {unknown}.\n"
    if "x-notification" in method:
        told = method["x-notification"]
        yield f"As an event stream it sends notifications `{told['name']}`, with {_type(told['params'])}.\n"
    rows = [
        (_name(each["name"], bool(each.get("required"))), _type(each["schema"]), _cell(each.get("description", "")))
        for each in method["params"]
    ]
    yield markdown_table(("member", "type", "meaning"), rows)
    reasons = sorted({reason for error in method["errors"] for reason in error.get("data", {}).get("reasons", {})})
    yield f"Errors: {', '.join(f'`{reason}`' for reason in reasons)}.\n"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    if "description" in schema:
        yield f"{schema['description']}\n"
    kinds = [schema, *schema.get("oneOf", []), *schema.get("anyOf", [])]
    tables = [_members(each) for each in kinds if "properties" in each]
    yield "or\n\n".join(f"{table}\n" for table in tables).rstrip("\n") + "\n" if tables else f"{_type(schema)}\n"


def _members(schema: dict[str, Any]) -> str:
    """The members of an object, as a table."""
    rows = [
        (_name(member, member in schema.get("required", [])), _type(each), _cell(each.get("description", "")))
        for member, each in schema["properties"].items()
    ]
    return markdown_table(("member", "type", "meaning"), rows)


def _name(name: str, required: bool) -> str:
    return f"**`{name}`**" if required else f"`{name}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _type(schema: dict[str, Any]) -> str:
    """A schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for composed, word in (("allOf", " and "), ("anyOf", " or "), ("oneOf", " or ")):
        if composed in schema:
            return word.join(text for each in schema[composed] if (text := _type(each)) != "null")
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    kinds = schema.get("type", "any JSON value")
    named = [kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"] or ["null"]
    if named == ["array"] and schema.get("items"):
        return f"array of {_type(schema['items'])}"
    return " or ".join(named)


def main() -> None:
    """Write the page."""
    DOCUMENT.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
