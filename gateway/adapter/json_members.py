"""Objects as JSON: members that have a field of the model, and all others, which are kept as extensions.

- An explicit null is an absent member, except where any JSON value may stand: an input, a variable, a value, `data`.
- Of repeated members the last one counts.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from gateway.core.errors import InvalidParams
from gateway.core.json_text import MAX_MEMBERS, members, quote, string, too_many
from gateway.core.model import JsonText, SubmitParams

META = "_meta"
"""The parameter of every method that says what it belongs to: its trace, as headers would."""


class Member(NamedTuple):
    """How a member is read: the field of the model that it fills, and the reader of its text, given the path as well.

    `nullable`: null is a value of the member. Otherwise null means that the member is absent. `spellings` are those of
    an enumeration that JSON spells in more ways than the model.
    """

    field: str
    read: Callable[..., Any]
    nullable: bool = False
    spellings: tuple[str, ...] = ()


Members: TypeAlias = Mapping[str, Member]
"""The members of an object that have a field, by their names."""


Params: TypeAlias = JsonText | dict[str, Any] | InvalidParams | SubmitParams | None
"""The parameters of a request: their text, or the members of a long object, or why these are refused; those of a plain
submit have been read.

Members are texts, but `inputs` may be PackedTexts, and long objects like `variables` may be divided into members, too.
"""


def members_of(params: Params, *path: str | int) -> dict[str, Any]:
    """The members of parameters, or of an object in them; none if there are no parameters.

    Raises InvalidParams if they are refused, are not an object, or have more than MAX_MEMBERS members.
    """
    if isinstance(params, dict):
        return params
    if isinstance(params, InvalidParams):
        raise params
    if params is None:
        return {}
    assert not isinstance(params, SubmitParams)
    given = members(params, *path)
    if len(given) > MAX_MEMBERS:
        raise too_many(*path or ("params",))
    return given


def read_members(params: Params, known: Members, *path: str | int) -> dict[str, Any]:
    """Read an object: the fields of its known members, and the others as `extensions` if there are any.

    Raises InvalidParams if it is not an object, or if a reader does.
    """
    fields: dict[str, Any] = {}
    extensions: dict[str, JsonText] = {}
    for name, member in members_of(params, *path).items():
        if name not in known:
            extensions[name] = member
            continue
        field, read, nullable, _ = known[name]
        if nullable or member != "null":
            fields[field] = read(member, *path, field)
    if extensions:
        fields["extensions"] = extensions
    return fields


def read_params(params: Params, known: Members) -> dict[str, Any]:
    """Read the parameters of a method as `read_members` does."""
    return read_members(params_of(params), known)


def params_of(params: Params) -> dict[str, Any]:
    """The members of the parameters of a method. Raises InvalidParams as `members_of` does, and for a wrong `_meta`."""
    given = members_of(params)
    meta = given.get(META)
    if isinstance(meta, str) and meta != "null" and not meta.startswith("{"):
        raise InvalidParams.field(META, description="expected an object")
    return given


def any_value(text: JsonText, *_: str | int) -> JsonText:
    """The reader of members that hold any JSON value: the text itself."""
    return text


def optional_text(text: JsonText, *path: str | int) -> str | None:
    """The reader of members that hold a text: an empty one counts as absent, as in a gRPC message."""
    return string(text, *path) or None


def write_object(parts: Sequence[str], extensions: Mapping[str, JsonText], known: Collection[str] = ()) -> JsonText:
    """Write an object of these parts and of those extensions that do not repeat a known member."""
    if not extensions:
        return f"{{{','.join(parts)}}}"
    unknown = (f"{quote(name)}:{text}" for name, text in extensions.items() if name not in known)
    return f"{{{','.join((*parts, *unknown))}}}"
