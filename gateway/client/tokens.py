"""Tokens that the gateway makes, as the clients ask for them and show them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.adapter import tokens_json, tokens_proto
from gateway.client.requests import checked
from gateway.client.status import moment
from gateway.core.tokens import TokenParams
from runs.v1 import runs_pb2


@dataclass(frozen=True)
class ScopedToken:
    """A token that is valid for a short time. It is told once: keep it where nothing logs it."""

    token: str = field(repr=False)
    expires_at: datetime


def token_request(
    permissions: Iterable[str],
    namespace: str | None,
    run_id: str | None,
    labels: Mapping[str, str],
    lifetime: float | None,
) -> runs_pb2.CreateTokenRequest:
    """Return the request for a token. Raises InvalidParams if a parameter is not valid."""
    given = tuple(tokens_json.permission_from_text(text, index) for index, text in enumerate(permissions))
    fields = {
        "permissions": given,
        "namespace": namespace,
        "run_id": run_id,
        "labels": dict(labels),
        "lifetime": lifetime,
    }
    return tokens_proto.token_params_to_proto(checked(TokenParams, fields))


def scoped_token(response: runs_pb2.CreateTokenResponse) -> ScopedToken:
    """Return the token from the answer."""
    created = tokens_proto.created_token_from_proto(response)
    expires_at = moment(created.expires_at)
    assert expires_at is not None
    return ScopedToken(created.token, expires_at)
