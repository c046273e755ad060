import json

import pytest
from hypothesis import given

from gateway.adapter import tokens_json, tokens_proto
from gateway.core.errors import InvalidParams
from gateway.core.owner import Permission
from gateway.core.times import rfc3339
from gateway.core.tokens import CreatedToken, TokenParams
from runs.v1 import runs_pb2
from tests.support import token_messages as messages


@given(messages.token_params)
def test_parameters_are_kept_on_the_wire(params: TokenParams) -> None:
    sent = tokens_proto.token_params_to_proto(params).SerializeToString()
    assert tokens_proto.token_params_from_proto(runs_pb2.CreateTokenRequest.FromString(sent)) == params
    assert tokens_json.token_params_from_json(tokens_json.token_params_to_json(params)) == params


@given(messages.created_tokens)
def test_a_token_is_kept_on_the_wire(created: CreatedToken) -> None:
    sent = tokens_proto.created_token_to_proto(created).SerializeToString()
    assert tokens_proto.created_token_from_proto(runs_pb2.CreateTokenResponse.FromString(sent)) == created
    written = json.loads(tokens_json.created_token_to_json(created))
    assert written == {"token": created.token, "expiresAt": rfc3339(created.expires_at)}


def test_members_are_spelled_as_the_specification_spells_them() -> None:
    params = tokens_json.token_params_from_json(
        '{"permissions":["runs:read"],"namespace":"","runId":"r","labels":{"a":"b"},"lifetimeSecs":60}'
    )
    assert params == TokenParams(permissions=(Permission.READ,), run_id="r", labels={"a": "b"}, lifetime=60.0)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{}", "permissions"),
        ('{"permissions":[]}', "permissions"),
        ('{"permissions":["runs:fly"]}', "permissions[0]"),
        ('{"permissions":["runs:read"],"lifetimeSecs":0}', "lifetime"),
        ('{"permissions":["runs:read"],"lifetimeSecs":86401}', "lifetime"),
        ('{"permissions":["runs:read"],"forever":true}', "forever"),
    ],
)
def test_what_breaks_a_rule_is_named(text: str, field: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        tokens_json.token_params_from_json(text)
    assert str(refused.value).startswith(field)


def test_permissions_that_are_not_known_are_named_over_grpc() -> None:
    with pytest.raises(InvalidParams, match=r"permissions\[0\]"):
        tokens_proto.token_params_from_proto(runs_pb2.CreateTokenRequest(permissions=["runs:fly"]))
