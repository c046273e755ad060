"""Making tokens: parameters and answer <-> protobuf messages."""

from typing import Any

from gateway.adapter.proto_fields import read_seconds, read_time, to_duration, write_time
from gateway.adapter.tokens_json import permission_from_text
from gateway.core.tokens import CreatedToken, TokenParams
from gateway.core.validation import validated
from runs.v1 import runs_pb2


def token_params_from_proto(message: runs_pb2.CreateTokenRequest) -> TokenParams:
    """Read the parameters of a token."""
    fields: dict[str, Any] = {
        "permissions": tuple(permission_from_text(text, index) for index, text in enumerate(message.permissions)),
        "namespace": message.namespace or None,
        "run_id": message.run_id or None,
        "labels": dict(message.labels),
    }
    if message.HasField("lifetime"):
        fields["lifetime"] = read_seconds(message.lifetime, "lifetime")
    return validated(TokenParams, fields)


def token_params_to_proto(params: TokenParams) -> runs_pb2.CreateTokenRequest:
    """Write the parameters of a token."""
    return runs_pb2.CreateTokenRequest(
        permissions=params.permissions,
        namespace=params.namespace or "",
        run_id=params.run_id or "",
        labels=params.labels,
        lifetime=None if params.lifetime is None else to_duration(params.lifetime),
    )


def created_token_from_proto(message: runs_pb2.CreateTokenResponse) -> CreatedToken:
    """Read a token."""
    return CreatedToken(message.token, read_time(message.expires_at, "expires_at"))


def created_token_to_proto(created: CreatedToken) -> runs_pb2.CreateTokenResponse:
    """Write a token."""
    message = runs_pb2.CreateTokenResponse(token=created.token)
    write_time(message.expires_at, created.expires_at)
    return message
