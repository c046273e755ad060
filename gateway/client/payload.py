"""Python values <-> the JSON text that travels.

Text is what the gateway passes on: exact, and never rewritten. Python values are convenient, and lose what Python has
no number for: decimals become doubles.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import InvalidParams
from gateway.core.json_text import json_text
from gateway.core.model import JsonText

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON value as its exact text, wherever a value is taken: `Json('{"price": 12.30}')` is sent as it stands.

    It stands for a whole value, not for a part of one.
    """

    text: str


def text_of(value: object, *path: str | int) -> JsonText:
    """The text of a value: of a Json the one that it holds, of anything else what `json.dumps` writes, compactly.

    InvalidParams with `path` if it is no JSON value: NaN, a lone surrogate, an object that JSON does not know.
    """
    if isinstance(value, Json):
        return json_text(value.text, *path)
    try:
        text = _ENCODER.encode(value)
        text.encode()
    except RecursionError:
        raise InvalidParams.field(*path, description="nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise InvalidParams.field(*path, description=f"not a JSON value: {error}") from None
    return text


def flow_text(flow: str | bytes | Json | Mapping[str, Any]) -> JsonText:
    """The text of a flow: text as it stands, an object as `json.dumps` writes it."""
    if isinstance(flow, Mapping):
        return text_of(dict(flow), "flow")
    text = flow.text if isinstance(flow, Json) else flow
    json_text(text, "flow")
    return text if isinstance(text, str) else text.decode()


def value_of(text: JsonText) -> Any:
    """The Python value of a text."""
    return json.loads(text)
