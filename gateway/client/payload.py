"""Python values <-> the JSON text that is sent.

The gateway passes text on as it is. Python values are convenient, and lose precision: decimals become doubles.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import InvalidParams
from gateway.core.json_text import json_text, lone_surrogate
from gateway.core.model import JsonText

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON value as its exact text: `Json('{"price": 12.30}')` is sent as it stands.

    The methods that take Python values take it as well, for a whole value, not inside one.
    """

    text: str


def text_of(value: object, *path: str | int) -> JsonText:
    """Return the JSON text of a value: the text of a Json, or what `json.dumps` writes, without spaces.

    Raises InvalidParams with `path` if it has none: NaN, a lone surrogate, an object of a type that JSON does not have.
    """
    if isinstance(value, Json):
        return json_text(value.text, *path)
    try:
        text = _ENCODER.encode(value)
        text.encode()
    except RecursionError:
        raise InvalidParams.field(*path, description="nested too deeply") from None
    except UnicodeEncodeError as error:
        raise lone_surrogate(error.start, *path) from None
    except (TypeError, ValueError) as error:
        raise InvalidParams.field(*path, description=f"not a JSON value: {error}") from None
    return text


def flow_text(flow: str | bytes | Json | Mapping[str, Any]) -> JsonText:
    """Return the JSON text of a flow, which is text already or a mapping. Raises InvalidParams if it is not JSON."""
    if isinstance(flow, Mapping):
        return text_of(dict(flow), "flow")
    text = flow.text if isinstance(flow, Json) else flow
    json_text(text, "flow")
    return text if isinstance(text, str) else text.decode()


def value_of(text: JsonText) -> Any:
    """Return the Python value of a JSON text."""
    return json.loads(text)
