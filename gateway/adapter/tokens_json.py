"""Making tokens: parameters and answer <-> JSON. Paths of errors use the names of `gateway.core.tokens`."""

from typing import Final

from gateway.adapter.control_json import known_members
from gateway.adapter.json_members import Member, Members, Params, optional_text, write_object
from gateway.adapter.params_json import add_seconds, labels_from_json, labels_to_json, seconds_from_json
from gateway.core.errors import InvalidParams
from gateway.core.json_text import elements, quote, string
from gateway.core.model import JsonText
from gateway.core.owner import Permission
from gateway.core.times import rfc3339
from gateway.core.tokens import CreatedToken, TokenParams
from gateway.core.validation import validated


def token_params_from_json(params: Params) -> TokenParams:
    """Read the parameters of runs/token."""
    return validated(TokenParams, known_members(params, TOKEN))


def token_params_to_json(params: TokenParams) -> JsonText:
    """Write the parameters of runs/token; members that hold their default are left out."""
    parts = [f'"permissions":[{",".join(map(quote, params.permissions))}]']
    if params.namespace is not None:
        parts.append(f'"namespace":{quote(params.namespace)}')
    if params.run_id is not None:
        parts.append(f'"runId":{quote(params.run_id)}')
    if params.labels:
        parts.append(f'"labels":{labels_to_json(params.labels)}')
    add_seconds(parts, "lifetimeSecs", params.lifetime)
    return write_object(parts, {})


def created_token_to_json(created: CreatedToken) -> JsonText:
    """Write the answer to runs/token."""
    return f'{{"token":{quote(created.token)},"expiresAt":"{rfc3339(created.expires_at)}"}}'


def permission_from_text(text: str, index: int) -> Permission:
    """Read a permission, by its place among all of them."""
    try:
        return Permission(text)
    except ValueError:
        raise InvalidParams.field("permissions", index, description="not a permission") from None


def _permissions(text: JsonText, *path: str | int) -> tuple[Permission, ...]:
    members = enumerate(elements(text, *path))
    return tuple(permission_from_text(string(member, *path, index), index) for index, member in members)


TOKEN: Final[Members] = {
    "permissions": Member("permissions", _permissions),
    "namespace": Member("namespace", optional_text),
    "runId": Member("run_id", optional_text),
    "labels": Member("labels", labels_from_json),
    "lifetimeSecs": Member("lifetime", seconds_from_json),
}
